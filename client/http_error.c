/*
 * What goes wrong with a request, as errnos: the only place that translates. docs/client.md shows
 * the same tables to people.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/http_int.h"

static const struct {
	int status;
	int code;
} statuses[] = {
	{401, -EACCES}, {403, -EACCES}, {404, -ENOENT}, {408, -ETIMEDOUT},
	{409, -EEXIST}, {410, -ENOENT}, {412, -EEXIST}, {413, -EFBIG},
	{429, -EBUSY},  {500, -EIO},    {503, -EBUSY},  {504, -ETIMEDOUT},
};

int http_status_errno(int status)
{
	if (status >= 200 && status < 300)
		return 0;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].code;
	if (status >= 500)
		return -EIO;
	/* Redirects are not followed: what answers there is not the service's API. */
	return status >= 400 ? -EINVAL : -EBADMSG;
}

bool http_status_retry(int status, bool repeatable)
{
	switch (status) {
	case 429: /* refused before anything was done */
		return true;
	case 408:
	case 500:
	case 502:
	case 503:
	case 504:
		return repeatable;
	default:
		return false;
	}
}

static const struct {
	CURLcode curl;
	int code;
	enum http_retry again;
} failures[] = {
	{CURLE_COULDNT_RESOLVE_PROXY, -EHOSTUNREACH, HTTP_RETRY_ALWAYS},
	{CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH, HTTP_RETRY_ALWAYS},
	{CURLE_COULDNT_CONNECT, -EHOSTUNREACH, HTTP_RETRY_ALWAYS},
	{CURLE_PROXY, -EHOSTUNREACH, HTTP_RETRY_ALWAYS},
	{CURLE_SSL_CONNECT_ERROR, -EHOSTUNREACH, HTTP_RETRY_ALWAYS},
	{CURLE_PEER_FAILED_VERIFICATION, -EHOSTUNREACH, HTTP_RETRY_NO},
	{CURLE_SSL_CERTPROBLEM, -EHOSTUNREACH, HTTP_RETRY_NO},
	{CURLE_SSL_CACERT_BADFILE, -EHOSTUNREACH, HTTP_RETRY_NO},
	{CURLE_INTERFACE_FAILED, -EHOSTUNREACH, HTTP_RETRY_NO},
	{CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, HTTP_RETRY_SAFE},
	{CURLE_SEND_ERROR, -EIO, HTTP_RETRY_SAFE},
	{CURLE_RECV_ERROR, -EIO, HTTP_RETRY_SAFE},
	{CURLE_GOT_NOTHING, -EIO, HTTP_RETRY_SAFE},
	{CURLE_PARTIAL_FILE, -EIO, HTTP_RETRY_SAFE},
	{CURLE_HTTP2, -EIO, HTTP_RETRY_SAFE},
	{CURLE_HTTP2_STREAM, -EIO, HTTP_RETRY_SAFE},
	{CURLE_UNSUPPORTED_PROTOCOL, -EBADMSG, HTTP_RETRY_NO}, /* not HTTP (libcurl: "0.9") */
	{CURLE_WEIRD_SERVER_REPLY, -EBADMSG, HTTP_RETRY_NO},
	{CURLE_BAD_CONTENT_ENCODING, -EBADMSG, HTTP_RETRY_NO},
	{CURLE_URL_MALFORMAT, -EINVAL, HTTP_RETRY_NO},
	{CURLE_OUT_OF_MEMORY, -ENOMEM, HTTP_RETRY_NO},
	{CURLE_FILESIZE_EXCEEDED, -EFBIG, HTTP_RETRY_NO},
};

int http_curl_errno(CURLcode code, enum http_retry *again)
{
	*again = HTTP_RETRY_NO;
	for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
		if (failures[i].curl == code) {
			*again = failures[i].again;
			return failures[i].code;
		}
	}
	return -EIO;
}

void http_shown_path(const char *url, char out[HTTP_SHOWN_PATH])
{
	static const char provider[] = "/providers/Microsoft.MachineLearningServices/";
	const char *path = strstr(url, "://"), *at;
	size_t n;

	path = path ? path + 3 : url;
	path += strcspn(path, "/?");
	at = strstr(path, provider);
	if (at)
		path = at + sizeof(provider) - 1;
	n = strcspn(path, "?");
	if (n < HTTP_SHOWN_PATH)
		snprintf(out, HTTP_SHOWN_PATH, "%.*s", (int)n, path);
	else
		snprintf(out, HTTP_SHOWN_PATH, "%.*s...%.*s", HTTP_SHOWN_PATH / 2 - 4, path,
			 HTTP_SHOWN_PATH / 2 - 1, path + n - (HTTP_SHOWN_PATH / 2 - 1));
}
