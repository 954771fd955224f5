#include "client/cloud.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { CLOUD_PUBLIC, CLOUD_CHINA, CLOUD_US };

static const struct cloud clouds[] = {
	[CLOUD_PUBLIC] = {"AzureCloud", "https://login.microsoftonline.com",
			  "https://management.azure.com", "https://management.azure.com/.default"},
	[CLOUD_CHINA] = {"AzureChinaCloud", "https://login.chinacloudapi.cn",
			 "https://management.chinacloudapi.cn",
			 "https://management.chinacloudapi.cn/.default"},
	[CLOUD_US] = {"AzureUSGovernment", "https://login.microsoftonline.us",
		      "https://management.usgovcloudapi.net",
		      "https://management.usgovcloudapi.net/.default"},
};

static const struct {
	const char *name;
	int cloud;
} names[] = {
	{"AzureCloud", CLOUD_PUBLIC},         {"AZURE_PUBLIC_CLOUD", CLOUD_PUBLIC},
	{"AzureChinaCloud", CLOUD_CHINA},     {"AZURE_CHINA_CLOUD", CLOUD_CHINA},
	{"AzureUSGovernment", CLOUD_US},      {"AZURE_US_GOVERNMENT", CLOUD_US},
	{"AzureUSGovernmentCloud", CLOUD_US},
};

static const struct {
	const char *host;
	int cloud;
} hosts[] = {
	{"login.microsoftonline.com", CLOUD_PUBLIC},
	{"login.windows.net", CLOUD_PUBLIC},
	{"login.chinacloudapi.cn", CLOUD_CHINA},
	{"login.partner.microsoftonline.cn", CLOUD_CHINA},
	{"login.microsoftonline.us", CLOUD_US},
};

const struct cloud *cloud_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcasecmp(names[i].name, name) == 0)
			return &clouds[names[i].cloud];
	return NULL;
}

const struct cloud *cloud_by_authority_host(const char *host)
{
	for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++)
		if (strcasecmp(hosts[i].host, host) == 0)
			return &clouds[hosts[i].cloud];
	return NULL;
}

const struct cloud *cloud_public(void)
{
	return &clouds[CLOUD_PUBLIC];
}
