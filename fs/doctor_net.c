/* The part of doctor that looks at servers: their names, their certificates, their clocks. */
#include "fs/doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/auth_token.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/url.h"

enum { SKEW_MAX_S = 300 /* assertions are refused beyond this */, ANSWER_MAX = 1024 * 1024 };

/* A proxy resolves names itself. Which one curl takes for which host is curl's to say. */
static const char *proxy_variable(void)
{
	static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *proxy = getenv(names[i]);

		if (proxy && *proxy)
			return names[i];
	}
	return NULL;
}

static void show_address(struct doctor *d, const char *host, const struct addrinfo *found)
{
	char address[NI_MAXHOST];

	if (getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof(address), NULL, 0,
			NI_NUMERICHOST))
		address[0] = '\0';
	doctor_say(d, "ok", "name", "%s is %s", host, address);
}

static bool check_name(struct doctor *d, const struct url *u, bool needed)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	const char *proxy = proxy_variable();
	int rc;

	if (url_host_is_address(u))
		return true;
	rc = getaddrinfo(u->host, NULL, &hints, &found);
	if (!rc) {
		show_address(d, u->host, found);
		freeaddrinfo(found);
		return true;
	}
	if (proxy) {
		doctor_say(d, "warn", "name",
			   "%s is not known here (%s); the proxy in %s may know it", u->host,
			   gai_strerror(rc), proxy);
		return true;
	}
	doctor_say(d, needed ? "fail" : "warn", "name", "%s is not known: %s", u->host,
		   gai_strerror(rc));
	doctor_advise(
		"check the network and /etc/resolv.conf; behind a proxy, set https_proxy; when "
		"the name itself is wrong, check AZURE_AUTHORITY_HOST, -o cloud and "
		"-o arm_endpoint");
	return false;
}

static void advise_on_failure(const char *why)
{
	if (strstr(why, "certificate") || strstr(why, "CA"))
		doctor_advise("its certificate is not trusted: give the CA's certificate with "
			      "-o cafile=FILE or SSL_CERT_FILE; a proxy that opens TLS has a CA of "
			      "its own");
	else if (proxy_variable())
		doctor_advise("check the proxy in %s, and whether no_proxy should name this host",
			      proxy_variable());
	else
		doctor_advise("check the network: a firewall, or a proxy that is needed (set "
			      "https_proxy)");
}

static void check_clock(struct doctor *d, const struct url *u, const struct http_response *r)
{
	int64_t ahead = clock_wall() / NS_PER_S - auth_answer_time(r);

	if (ahead > SKEW_MAX_S || ahead < -SKEW_MAX_S) {
		doctor_say(d, "warn", "clock", "this machine is %lld s %s of %s",
			   (long long)(ahead < 0 ? -ahead : ahead), ahead < 0 ? "behind" : "ahead",
			   u->host);
		doctor_advise(
			"set the clock (timedatectl set-ntp true): certificates and some ways "
			"to sign in need the right time");
	}
}

static bool check_connection(struct doctor *d, const char *origin, const struct url *u, bool needed)
{
	struct http_request r = {.method = "GET", .url = origin, .max_body = ANSWER_MAX};
	struct http_response resp = {0};
	struct err e = ERR_INIT;
	struct call call;
	int rc;

	call_init(&call, clock_mono() + (int64_t)(d->options->timeout * (double)NS_PER_S),
		  CALL_INTERACTIVE);
	rc = http_perform(d->http, &r, &call, &resp, &e);
	call_destroy(&call);
	/* Whatever it answers to this, it is there. */
	if (rc && rc != -EFBIG) {
		doctor_say(d, needed ? "fail" : "warn", u->https ? "tls" : "connection", "%s: %s",
			   origin, e.msg);
		advise_on_failure(e.msg);
	} else {
		doctor_say(d, "ok", u->https ? "tls" : "connection", "%s answers%s", origin,
			   u->https ? ", and its certificate is trusted" : "");
		check_clock(d, u, &resp);
	}
	http_response_clear(&resp);
	return !rc || rc == -EFBIG;
}

bool doctor_check_server(struct doctor *d, const char *url, bool needed)
{
	_cleanup_buf_ struct buf origin = BUF_INIT(URL_MAX);
	_cleanup_url_ struct url u = {0};
	struct err e = ERR_INIT;

	if (url_parse(url, &u, &e) || url_add_origin(&origin, &u)) {
		doctor_say(d, "fail", "settings", "%s is no address: %s", url, e.msg);
		return false;
	}
	return check_name(d, &u, needed) && check_connection(d, buf_str(&origin), &u, needed);
}
