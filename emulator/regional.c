/* Regional services: what workspaces and registries point to with their discoveryUrl. */
#include "emulator/exchange.h"

#include "emulator/jsonio.h"
#include "emulator/scopes.h"

void regional_services(struct exchange *x)
{
	const char *base = x->req->base_url;

	buf_addf(&x->reply->body, "{\"api\":\"%s\",\"registrymanagement\":\"%s\"}", base, base);
}

void regional_registry(struct exchange *x)
{
	struct text any = {0}, name = x->param[0];
	const char *base = x->req->base_url;
	struct err e = ERR_INIT;
	struct emu_scope s;
	int ret = scopes_find(x->emu, SCOPE_REGISTRY, any, any, name, &s, &e);

	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (!ret)
		exchange_error(x, 404, "UserError", "Could not find registry with name %.*s.",
			       (int)name.len, name.ptr);
	else
		buf_addf(&x->reply->body,
			 "{\"registryId\":\"%s\",\"registryName\":\"%s\","
			 "\"tenantId\":\"" EMU_SUBSCRIPTION "\",\"primaryRegion\":\"%s\","
			 "\"regions\":[\"%s\"],\"subscriptionId\":\"%s\",\"resourceGroup\":\"%s\","
			 "\"workspaceName\":null,\"primaryRegionResourceProviderUri\":\"%s/\","
			 "\"registryFqdns\":{\"%s\":{\"uri\":\"%s\"}}}",
			 s.guid, s.name, s.location, s.location, s.subscription, s.group, base,
			 s.location, base);
	scope_release(&s);
}
