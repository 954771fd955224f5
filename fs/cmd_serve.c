/* cmd_serve - mlenvfs serve: the embedded service for other programs. */
#include "fs/cmd.h"
#include "fs/paths.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "emulator/emu.h"

const char cmd_serve_help[] =
	"usage: mlenvfs serve [--listen [HOST:]PORT] [--unix PATH] [OPTION...]\n"
	"\n"
	"Offers the embedded service to other programs, over HTTP or TLS: the REST API of Azure "
	"ML\n"
	"for environments, and the Blob Storage calls of build contexts. Ends at SIGINT or "
	"SIGTERM.\n"
	"Every request needs the bearer token that is printed at start (or given in a file).\n"
	"\n"
	"      --listen [HOST:]PORT listen there (127.0.0.1:10010; port 0: any free one)\n"
	"      --unix PATH          listen on a Unix socket, in a directory of mode 0700\n"
	"      --tls                https, with a certificate for localhost; says what to trust\n"
	"      --tls-cert FILE      https, with this certificate (PEM, with its chain)\n"
	"      --tls-key FILE       the certificate's key (PEM)\n"
	"      --store FILE         where everything is kept ($XDG_DATA_HOME/mlenvfs/store.db)\n"
	"      --token-file FILE    the token to ask for: the first line of FILE\n"
	"      --entra FILE         who may sign in at /TENANT/oauth2/v2.0/token: applications, "
	"their\n"
	"                           secrets and certificates, in JSON; mode 0600\n"
	"      --storage-auth HOW   key, sas or none: what the datastore's credentials are (key)\n"
	"      --timestamp-versions the next version is always a time, never a number\n"
	"      --api-versions LIST  have only these api-versions, separated by commas (any)\n"
	"      --budget N           answer at most N reads, writes and deletes a minute (no "
	"limit)\n"
	"      --sas-seconds N      how long a SAS is valid (28800)\n"
	"      --builder PROGRAM    what builds images: auto, buildah, podman, docker, none, or a\n"
	"                           path (auto: the first of the three that is in $PATH)\n"
	"      --builds N           images that are built at a time (1)\n"
	"      --build-timeout S    seconds that one may take (3600)\n"
	"  for tests:\n"
	"      --faults FILE        do wrong what the plan in FILE says (docs/faults.md)\n"
	"      --page-size N        rows in one page of a list (100)\n"
	"      --list-lag S         seconds that lists lag behind writes (0)\n"
	"      --registry-polls N   times a registry says that it is not done yet (0)\n"
	"      --help\n";

#define DEFAULT_HOST "127.0.0.1"
#define DEFAULT_PORT "10010"

enum {
	TOKEN_BYTES = 24,
	TOKEN_MIN = 8,
	TOKEN_MAX = 4096,
	HOST_MAX = 256,
	PAGE_SIZE_MAX = 1000,
	LAG_MAX = 3600,
	POLLS_MAX = 1000,
	BUDGET_MAX = 1000000,
	SAS_MAX = 7 * 24 * 3600,
	BUILD_TIMEOUT_MAX = 7 * 24 * 3600,
};

struct serve {
	struct emu_conf conf;
	char host[HOST_MAX];
	uint16_t port;
	bool tcp;
	const char *socket;
	const char *token_file;
	bool tls;
	char token[TOKEN_MAX];
	char *store;
	char *tls_dir;
};

enum serve_option {
	OPT_LISTEN = 256,
	OPT_UNIX,
	OPT_TLS,
	OPT_TLS_CERT,
	OPT_TLS_KEY,
	OPT_STORE,
	OPT_TOKEN_FILE,
	OPT_ENTRA,
	OPT_FAULTS,
	OPT_PAGE_SIZE,
	OPT_LIST_LAG,
	OPT_REGISTRY_POLLS,
	OPT_STORAGE_AUTH,
	OPT_TIMESTAMPS,
	OPT_API_VERSIONS,
	OPT_BUDGET,
	OPT_SAS_SECONDS,
	OPT_BUILDER,
	OPT_BUILDS,
	OPT_BUILD_TIMEOUT,
	OPT_HELP,
};

static const struct option options[] = {
	{"listen", required_argument, NULL, OPT_LISTEN},
	{"unix", required_argument, NULL, OPT_UNIX},
	{"tls", no_argument, NULL, OPT_TLS},
	{"tls-cert", required_argument, NULL, OPT_TLS_CERT},
	{"tls-key", required_argument, NULL, OPT_TLS_KEY},
	{"store", required_argument, NULL, OPT_STORE},
	{"token-file", required_argument, NULL, OPT_TOKEN_FILE},
	{"entra", required_argument, NULL, OPT_ENTRA},
	{"faults", required_argument, NULL, OPT_FAULTS},
	{"page-size", required_argument, NULL, OPT_PAGE_SIZE},
	{"list-lag", required_argument, NULL, OPT_LIST_LAG},
	{"registry-polls", required_argument, NULL, OPT_REGISTRY_POLLS},
	{"storage-auth", required_argument, NULL, OPT_STORAGE_AUTH},
	{"timestamp-versions", no_argument, NULL, OPT_TIMESTAMPS},
	{"api-versions", required_argument, NULL, OPT_API_VERSIONS},
	{"budget", required_argument, NULL, OPT_BUDGET},
	{"sas-seconds", required_argument, NULL, OPT_SAS_SECONDS},
	{"builder", required_argument, NULL, OPT_BUILDER},
	{"builds", required_argument, NULL, OPT_BUILDS},
	{"build-timeout", required_argument, NULL, OPT_BUILD_TIMEOUT},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

/* A whole number between 0 and max, or -1. */
static long read_number(const char *text, long max)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	return errno || *end || end == text || n < 0 || n > max ? -1 : n;
}

static int read_count(const char *name, const char *text, long min, long max, unsigned int *out)
{
	long n = read_number(text, max);

	if (n < min)
		return cmd_usage("serve", "--%s: '%s' is not a number from %ld to %ld", name, text,
				 min, max);
	*out = (unsigned int)n;
	return CMD_OK;
}

/* [HOST:]PORT; an IPv6 address stands in brackets. */
static int read_listen(struct serve *s, const char *text)
{
	const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	size_t len = colon ? (size_t)(colon - text) : 0;
	long n = read_number(port, UINT16_MAX);

	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (n < 0 || len >= sizeof(s->host))
		return cmd_usage("serve", "--listen: '%s' is not HOST:PORT", text);
	snprintf(s->host, sizeof(s->host), "%.*s", len ? (int)len : (int)strlen(DEFAULT_HOST),
		 len ? text : DEFAULT_HOST);
	s->port = (uint16_t)n;
	s->tcp = true;
	return CMD_OK;
}

static int read_auth(struct serve *s, const char *text)
{
	static const char *const names[] = {
		[EMU_STORAGE_KEY] = "key", [EMU_STORAGE_SAS] = "sas", [EMU_STORAGE_NONE] = "none"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0) {
			s->conf.storage_auth = (enum emu_storage_auth)i;
			return CMD_OK;
		}
	return cmd_usage("serve", "--storage-auth: '%s' is none of key, sas, none", text);
}

static int read_builder(struct serve *s, const char *text)
{
	if (!emu_builder_known(text))
		return cmd_usage("serve",
				 "--builder: '%s' is none of auto, buildah, podman, docker, none, "
				 "and no absolute path",
				 text);
	s->conf.builder = text;
	return CMD_OK;
}

static int read_option(struct serve *s, int option, const char *arg)
{
	switch (option) {
	case OPT_LISTEN:
		return read_listen(s, arg);
	case OPT_UNIX:
		s->socket = arg;
		return CMD_OK;
	case OPT_TLS:
		s->tls = true;
		return CMD_OK;
	case OPT_TLS_CERT:
		s->conf.tls_cert = arg;
		return CMD_OK;
	case OPT_TLS_KEY:
		s->conf.tls_key = arg;
		return CMD_OK;
	case OPT_STORE:
		s->conf.store = arg;
		return CMD_OK;
	case OPT_TOKEN_FILE:
		s->token_file = arg;
		return CMD_OK;
	case OPT_ENTRA:
		s->conf.entra = arg;
		return CMD_OK;
	case OPT_FAULTS:
		s->conf.faults = arg;
		return CMD_OK;
	case OPT_PAGE_SIZE:
		return read_count("page-size", arg, 0, PAGE_SIZE_MAX, &s->conf.page_size);
	case OPT_LIST_LAG:
		return read_count("list-lag", arg, 0, LAG_MAX, &s->conf.list_lag_s);
	case OPT_REGISTRY_POLLS:
		return read_count("registry-polls", arg, 0, POLLS_MAX, &s->conf.registry_polls);
	case OPT_STORAGE_AUTH:
		return read_auth(s, arg);
	case OPT_TIMESTAMPS:
		s->conf.timestamp_versions = true;
		return CMD_OK;
	case OPT_API_VERSIONS:
		s->conf.api_versions = arg;
		return CMD_OK;
	case OPT_BUDGET:
		return read_count("budget", arg, 1, BUDGET_MAX, &s->conf.requests_per_minute);
	case OPT_SAS_SECONDS:
		return read_count("sas-seconds", arg, 1, SAS_MAX, &s->conf.sas_seconds);
	case OPT_BUILDER:
		return read_builder(s, arg);
	case OPT_BUILDS:
		return read_count("builds", arg, 1, EMU_BUILDS_MAX, &s->conf.builds);
	case OPT_BUILD_TIMEOUT:
		return read_count("build-timeout", arg, 1, BUILD_TIMEOUT_MAX,
				  &s->conf.build_timeout_s);
	default:
		return cmd_usage("serve", "there is no such option, or it lacks its value");
	}
}

static bool speaks_tls(const struct serve *s)
{
	return s->tls || s->conf.tls_cert;
}

static int check_tls(const struct serve *s)
{
	if (!s->conf.tls_cert != !s->conf.tls_key)
		return cmd_usage("serve", "--tls-cert and --tls-key belong together");
	if (s->tls && s->conf.tls_cert)
		return cmd_usage("serve", "--tls makes its own certificate: give either --tls or "
					  "--tls-cert and --tls-key");
	if (speaks_tls(s) && !s->tcp)
		return cmd_usage("serve", "a Unix socket needs no TLS: --tls goes with --listen");
	return CMD_OK;
}

/* CMD_OK, CMD_USAGE, or -1 when help was all that was wanted. */
static int read_arguments(struct serve *s, int argc, char **argv)
{
	int option, ret;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == OPT_HELP) {
			fputs(cmd_serve_help, stdout);
			return -1;
		}
		ret = read_option(s, option, optarg);
		if (ret)
			return ret;
	}
	if (optind < argc)
		return cmd_usage("serve", "'%s' is too much", argv[optind]);
	if (!s->tcp && !s->socket) {
		ret = read_listen(s, DEFAULT_PORT);
		if (ret)
			return ret;
	}
	return check_tls(s);
}

static int make_token(struct serve *s)
{
	unsigned char random[TOKEN_BYTES];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		cmd_complain("there is no randomness for a token: %s", strerror(errno));
		return CMD_FAILED;
	}
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(s->token + 2 * i, 3, "%02x", random[i]);
	return CMD_OK;
}

static int read_token(struct serve *s)
{
	FILE *f;

	if (!s->token_file)
		return make_token(s);
	f = fopen(s->token_file, "re");
	if (!f || !fgets(s->token, sizeof(s->token), f))
		s->token[0] = '\0';
	if (!f) {
		cmd_complain("%s: %s", s->token_file, strerror(errno));
		return CMD_FAILED;
	}
	fclose(f);
	s->token[strcspn(s->token, "\r\n")] = '\0';
	if (strlen(s->token) >= TOKEN_MIN)
		return CMD_OK;
	cmd_complain("%s: its first line is not a token of at least %d characters", s->token_file,
		     TOKEN_MIN);
	return CMD_FAILED;
}

/* The store that a mount without settings uses as well. */
static int default_store(struct serve *s)
{
	int ret;

	s->store = paths_store();
	if (!s->store) {
		cmd_complain("no memory");
		return CMD_FAILED;
	}
	ret = paths_make_parents(s->store);
	if (ret) {
		cmd_complain("%s: %s", s->store, strerror(-ret));
		return CMD_FAILED;
	}
	s->conf.store = s->store;
	return CMD_OK;
}

/* Where the CA is that --tls makes. */
static int tls_directory(struct serve *s)
{
	int ret;

	s->tls_dir = paths_tls();
	if (!s->tls_dir) {
		cmd_complain("no memory");
		return CMD_FAILED;
	}
	ret = paths_make_parents(s->tls_dir);
	if (ret) {
		cmd_complain("%s: %s", s->tls_dir, strerror(-ret));
		return CMD_FAILED;
	}
	s->conf.tls_dir = s->tls_dir;
	return CMD_OK;
}

static bool is_loopback(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
	       strcmp(host, "localhost") == 0;
}

static void warn_of_network(const struct serve *s)
{
	if (s->tls)
		cmd_complain("warning: the certificate that --tls makes is for localhost only: "
			     "other machines need one for %s, given with --tls-cert and --tls-key",
			     s->host);
	else if (!speaks_tls(s))
		cmd_complain("warning: %s can be reached from other machines, and HTTP is not "
			     "encrypted: others on the network can read the token",
			     s->host);
}

static int listen_all(struct serve *s, struct emu *emu)
{
	struct err e = ERR_INIT;
	int ret = s->tcp ? emu_listen_tcp(emu, s->host, &s->port, &e) : 0;

	if (!ret && s->socket)
		ret = emu_listen_unix(emu, s->socket, &e);
	if (ret) {
		cmd_complain("%s", err_text(&e, ret));
		return CMD_FAILED;
	}
	if (s->tcp && !is_loopback(s->host))
		warn_of_network(s);
	return CMD_OK;
}

static void announce_ca(const char *ca)
{
	printf("CA to trust: %s\n"
	       "  export SSL_CERT_FILE='%s'        # curl, Python, mlenvfs mount\n"
	       "  export REQUESTS_CA_BUNDLE='%s'   # Python's requests, Azure's SDK and CLI\n"
	       "  export NODE_EXTRA_CA_CERTS='%s'  # Node.js\n",
	       ca, ca, ca, ca);
}

static void announce(const struct serve *s, const char *ca)
{
	bool ipv6 = strchr(s->host, ':');

	if (s->tcp)
		printf("listening on %s://%s%s%s:%u\n", speaks_tls(s) ? "https" : "http",
		       ipv6 ? "[" : "", s->host, ipv6 ? "]" : "", s->port);
	if (s->socket)
		printf("listening on unix:%s\n", s->socket);
	if (ca)
		announce_ca(ca);
	printf("store: %s\n", s->conf.store);
	if (s->token_file)
		printf("token: the first line of %s\n", s->token_file);
	else
		printf("token: %s\n", s->token);
	fflush(stdout);
}

static int serve_until(struct serve *s, const sigset_t *until)
{
	struct err e = ERR_INIT;
	struct emu *emu;
	int ret = emu_new(&s->conf, &emu, &e), sig;

	if (ret) {
		cmd_complain("%s", err_text(&e, ret));
		return CMD_FAILED;
	}
	ret = listen_all(s, emu);
	if (!ret) {
		announce(s, emu_ca(emu));
		sigwait(until, &sig);
	}
	emu_free(emu);
	if (!ret && s->socket)
		unlink(s->socket);
	return ret;
}

int cmd_serve(int argc, char **argv)
{
	struct serve s = {0};
	sigset_t until;
	int ret = read_arguments(&s, argc, argv);

	if (ret)
		return ret < 0 ? CMD_OK : ret;
	/* Blocked before threads are made, so that they all leave these to sigwait. */
	sigemptyset(&until);
	sigaddset(&until, SIGINT);
	sigaddset(&until, SIGTERM);
	sigaddset(&until, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &until, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* A core dump would hold keys and tokens. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		cmd_complain("warning: core dumps can't be switched off: %s", strerror(errno));
	ret = read_token(&s);
	if (!ret && !s.conf.store)
		ret = default_store(&s);
	if (!ret && s.tls)
		ret = tls_directory(&s);
	s.conf.token = s.token;
	if (!ret)
		ret = serve_until(&s, &until);
	explicit_bzero(s.token, sizeof(s.token));
	free(s.store);
	free(s.tls_dir);
	return ret;
}
