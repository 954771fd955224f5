#include "emulator/emu.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "emulator/build_engine.h"
#include "emulator/builder.h"
#include "emulator/counters.h"
#include "emulator/db.h"
#include "emulator/emu_int.h"
#include "emulator/entra.h"
#include "emulator/faults.h"
#include "emulator/seed.h"
#include "emulator/server.h"
#include "emulator/throttle.h"

enum { BACKLOG = 128, PASSWD_SIZE = 16384, SAS_SECONDS = 8 * 3600 };

static char *login_name(void)
{
	_cleanup_free_ char *store = malloc(PASSWD_SIZE);
	struct passwd pw, *found = NULL;

	if (store && getpwuid_r(geteuid(), &pw, store, PASSWD_SIZE, &found) == 0 && found)
		return strdup(found->pw_name);
	return strdup("user");
}

static int copy_string(const char *from, const char **to)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

static int copy_conf(struct emu *emu, const struct emu_conf *conf)
{
	emu->conf = *conf;
	emu->conf.store = emu->conf.token = emu->conf.faults = NULL;
	emu->conf.api_versions = emu->conf.builder = NULL;
	emu->conf.entra = NULL;
	emu->conf.tls_cert = emu->conf.tls_key = emu->conf.tls_dir = NULL;
	emu->user = login_name();
	if (!emu->user || copy_string(conf->store, &emu->conf.store) ||
	    copy_string(conf->token, &emu->conf.token) ||
	    copy_string(conf->faults, &emu->conf.faults) ||
	    copy_string(conf->api_versions, &emu->conf.api_versions) ||
	    copy_string(conf->builder, &emu->conf.builder))
		return -ENOMEM;
	return 0;
}

int emu_sas_seconds(const struct emu *emu)
{
	return emu->conf.sas_seconds ? (int)emu->conf.sas_seconds : SAS_SECONDS;
}

bool emu_builder_known(const char *builder)
{
	return build_engine_known(builder);
}

static int read_certs(struct emu *emu, const struct emu_conf *conf, struct err *e)
{
	if (conf->tls_cert)
		return certs_load(conf->tls_cert, conf->tls_key, &emu->certs, e);
	return conf->tls_dir ? certs_make(conf->tls_dir, &emu->certs, e) : 0;
}

int emu_new(const struct emu_conf *conf, struct emu **out, struct err *e)
{
	struct emu *emu = calloc(1, sizeof(*emu));
	int ret = -ENOMEM;

	*out = NULL;
	if (emu && !copy_conf(emu, conf)) {
		emu->counters = counters_new();
		emu->faults = faults_new();
		emu->throttle = throttle_new(conf->requests_per_minute);
		emu->entra = entra_new();
		if (emu->counters && emu->faults && emu->throttle && emu->entra)
			ret = 0;
	}
	if (ret)
		err_set(e, ret, "no memory");
	else if (emu->conf.faults)
		ret = faults_load(emu->faults, emu->conf.faults, e);
	if (!ret && conf->entra)
		ret = entra_load(emu->entra, conf->entra, e);
	if (!ret)
		ret = read_certs(emu, conf, e);
	if (!ret)
		ret = db_open(emu->conf.store, &emu->db, e);
	if (!ret)
		ret = seed(emu, e);
	if (!ret) {
		emu->server = server_new(emu, e);
		ret = emu->server ? 0 : -ENOMEM;
	}
	if (!ret) {
		emu->builder = builder_new(emu, e);
		ret = emu->builder ? 0 : -ENOMEM;
	}
	if (ret) {
		emu_free(emu);
		return ret;
	}
	*out = emu;
	return 0;
}

/* Whoever can reach the socket's directory can use the service, token or not. */
static int check_private(const struct sockaddr_un *addr, struct err *e)
{
	char dir[sizeof(addr->sun_path)];
	const char *slash = strrchr(addr->sun_path, '/');
	struct stat st;

	if (!slash)
		return err_set(e, -EINVAL, "%s: the socket's path must be absolute",
			       addr->sun_path);
	snprintf(dir, sizeof(dir), "%.*s",
		 slash == addr->sun_path ? 1 : (int)(slash - addr->sun_path), addr->sun_path);
	if (stat(dir, &st))
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return err_set(e, -EPERM, "%s: others may enter the socket's directory", dir);
	return 0;
}

/* One that an earlier process left behind; nothing else is removed. */
static int remove_socket(const char *path, struct err *e)
{
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST, "%s: exists, and is not a socket", path);
	return unlink(path) ? err_set(e, -errno, "%s: %s", path, strerror(errno)) : 0;
}

/* fd is taken. */
static int start(struct emu *emu, int fd, const struct certs *certs, struct err *e)
{
	int ret = builder_start(emu->builder, e);

	if (!ret)
		return server_listen(emu->server, fd, certs, e);
	close(fd);
	return ret;
}

int emu_listen_unix(struct emu *emu, const char *path, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, ret;

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: too long for a socket's path", path);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	ret = check_private(&addr, e);
	if (!ret)
		ret = remove_socket(path, e);
	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || chmod(path, 0600) ||
	    listen(fd, BACKLOG)) {
		ret = err_set(e, -errno, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	return start(emu, fd, NULL, e);
}

static int bind_address(const struct addrinfo *ai)
{
	static const int on = 1;
	int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);

	if (fd < 0)
		return -errno;
	/* Accepted sockets inherit TCP_NODELAY; without it, small answers wait for an ACK. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, BACKLOG)) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

static uint16_t bound_port(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr = {.v6 = {0}};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, &addr.any, &len))
		return 0;
	return ntohs(addr.any.sa_family == AF_INET6 ? addr.v6.sin6_port : addr.v4.sin_port);
}

int emu_listen_tcp(struct emu *emu, const char *host, uint16_t *port, struct err *e)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	char service[8];
	int fd = -EADDRNOTAVAIL, rc;

	snprintf(service, sizeof(service), "%u", *port);
	rc = getaddrinfo(host, service, &hints, &list);
	if (rc)
		return err_set(e, -EADDRNOTAVAIL, "%s: %s", host, gai_strerror(rc));
	for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = bind_address(ai);
	freeaddrinfo(list);
	if (fd < 0)
		return err_set(e, fd, "%s:%u: %s", host, *port, strerror(-fd));
	*port = bound_port(fd);
	return start(emu, fd, emu->certs.chain ? &emu->certs : NULL, e);
}

const char *emu_ca(const struct emu *emu)
{
	return emu->certs.ca_path;
}

void emu_free(struct emu *emu)
{
	if (!emu)
		return;
	builder_stop(emu->builder);
	server_free(emu->server);
	builder_free(emu->builder);
	db_close(emu->db);
	faults_free(emu->faults);
	entra_free(emu->entra);
	counters_free(emu->counters);
	throttle_free(emu->throttle);
	free(emu->user);
	free((char *)emu->conf.store);
	if (emu->conf.token)
		explicit_bzero((char *)emu->conf.token, strlen(emu->conf.token));
	free((char *)emu->conf.token);
	free((char *)emu->conf.faults);
	free((char *)emu->conf.api_versions);
	free((char *)emu->conf.builder);
	certs_clear(&emu->certs);
	free(emu);
}
