/* The device code flow's first step, and the page that a person is sent to. Source: RFC 8628. */
#include "emulator/entra_form.h"

#include <stdio.h>
#include <string.h>

#include "emulator/jsonio.h"

static void add_answer(struct exchange *x, const struct entra_settings *s, const char *code,
		       const char *user_code)
{
	struct buf *b = &x->reply->body;
	const char *base = x->req->base_url;

	buf_addf(b,
		 "{\"user_code\":\"%s\",\"device_code\":\"%s\","
		 "\"verification_uri\":\"%s/devicelogin\",\"expires_in\":%lld,\"interval\":%lld,",
		 user_code, code, base, (long long)s->device_s, (long long)s->device_interval_s);
	buf_addf(b,
		 "\"message\":\"To sign in, use a web browser to open the page %s/devicelogin and "
		 "enter the code %s to authenticate.\"}",
		 base, user_code);
}

static enum entra_error device_code(struct exchange *x, struct entra_form *f)
{
	char code[ENTRA_SECRET_SIZE], user_code[USER_CODE_SIZE];
	enum entra_error error = entra_form_read(x, f);
	struct entra_settings settings;
	struct entra_scope scope;
	const char *text;

	if (error)
		return error;
	if (!f->is_public)
		return ENTRA_NO_CREDENTIAL;
	text = entra_form_need(f, "scope", &error);
	if (text)
		error = entra_scope_read(text, x->req->base_url, &scope, f->about);
	if (error)
		return error;
	if (entra_device_new(x->emu->entra, f->app, f->tenant, &scope, code, user_code))
		return ENTRA_INTERNAL;
	entra_settings(x->emu->entra, &settings);
	add_answer(x, &settings, code, user_code);
	explicit_bzero(code, sizeof(code));
	return ENTRA_OK;
}

void entra_devicecode(struct exchange *x)
{
	struct entra_form f = {.n = 0};
	enum entra_error error = device_code(x, &f);

	if (error)
		entra_error(x, error, f.about);
	entra_form_clear(&f);
}

/* There are no people here: who has the service's token answers for them. */
void entra_devicelogin(struct exchange *x)
{
	snprintf(x->reply->content_type, sizeof(x->reply->content_type),
		 "text/plain; charset=utf-8");
	buf_addf(&x->reply->body,
		 "This is mlenvfs serve, which has no users. Whoever has its token can say yes for "
		 "one:\n\n  curl -X POST -H \"Authorization: Bearer $TOKEN\" -d '{\"approve\": "
		 "true}' %s/__mlenvfs/entra/devicecodes/CODE\n",
		 x->req->base_url);
}
