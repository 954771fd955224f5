/* cmd_mount - mlenvfs mount; also what runs as mount.mlenvfs and mount.fuse.mlenvfs. */
#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "client/writeall.h"
#include "emulator/emu.h"
#include "fs/mount.h"
#include "fs/options.h"

const char cmd_mount_help[] =
	"usage: mlenvfs mount [-f] [-o OPTIONS] [SOURCE] MOUNTPOINT\n"
	"\n"
	"Mounts Azure ML workspaces at MOUNTPOINT, in the background unless -f is given.\n"
	"SOURCE is one of\n"
	"  embedded                      the service on this machine (the default)\n"
	"  azureml://subscriptions/ID[/resourceGroups/GROUP[/workspaces/NAME]]\n"
	"  azureml://registries/NAME\n"
	"  azure                         what AZURE_SUBSCRIPTION_ID and the like, "
	".azureml/config.json\n"
	"                                or 'az configure --defaults' name\n"
	"To Azure it signs in as its SDKs do: environment variables, workload and managed\n"
	"identities, 'mlenvfs login', 'az login'. When that fails, 'mlenvfs doctor' says why.\n"
	"\n"
	"  -f, --foreground         stay in the foreground, log to stderr\n";

/* What the background process tells the one that started it, through a pipe. */
struct report {
	int fd; /* -1 in the foreground */
};

static int to_background(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (null > 2)
		close(null);
	return chdir("/") < 0 ? -errno : 0;
}

/* The mount is up: says so, and from here on has no terminal. */
static int ready(void *arg)
{
	struct report *r = arg;
	struct err none = ERR_INIT;
	int rc;

	if (r->fd < 0)
		return 0;
	rc = to_background();
	if (rc)
		return rc;
	/* When the one that started us is gone (Ctrl-C), nobody wants this mount. */
	if (write_all(r->fd, &none, sizeof(none)))
		return -EPIPE;
	close(r->fd);
	r->fd = -1;
	return 0;
}

static int open_log(const struct options *o)
{
	int fd;

	log_set_level(o->log_level);
	if (!o->log_file) {
		if (!o->foreground)
			log_set_fd(-1);
		return 0;
	}
	fd = open(o->log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		cmd_complain("the log file %s can't be opened: %s", o->log_file, strerror(errno));
		return CMD_FAILED;
	}
	log_set_fd(fd);
	return 0;
}

static int fail(const struct options *o, const struct err *e)
{
	cmd_complain("can't mount %s: %s", o->mountpoint, e->msg);
	return CMD_FAILED;
}

static int run_foreground(const struct options *o)
{
	struct report r = {.fd = -1};
	struct err e = ERR_INIT;

	return mount_serve(o, ready, &r, &e) ? fail(o, &e) : CMD_OK;
}

/* The background process: everything happens here, so that no thread is lost by the fork. */
static int child(const struct options *o, int fd)
{
	struct report r = {.fd = fd};
	struct err e = ERR_INIT;
	int rc;

	setsid();
	signal(SIGPIPE, SIG_IGN);
	rc = mount_serve(o, ready, &r, &e);
	if (rc && r.fd >= 0 && write_all(r.fd, &e, sizeof(e)))
		return CMD_FAILED;
	if (rc && r.fd < 0)
		log_error("op=mount mountpoint=%s: %s", o->mountpoint, e.msg);
	return rc ? CMD_FAILED : CMD_OK;
}

static int await(const struct options *o, int fd, pid_t pid)
{
	struct err e = ERR_INIT;
	size_t got = 0;
	int status;

	while (got < sizeof(e)) {
		ssize_t n = read(fd, (char *)&e + got, sizeof(e) - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	if (got < sizeof(e)) {
		waitpid(pid, &status, 0);
		cmd_complain("can't mount %s: the background process ended without a word "
			     "(status %d)",
			     o->mountpoint, status);
		return CMD_FAILED;
	}
	if (!e.code)
		return CMD_OK;
	waitpid(pid, &status, 0);
	return fail(o, &e);
}

static int run_background(const struct options *o)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		cmd_complain("no pipe: %s", strerror(errno));
		return CMD_FAILED;
	}
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		exit(child(o, fds[1]));
	}
	close(fds[1]);
	if (pid < 0) {
		cmd_complain("no background process: %s", strerror(errno));
		close(fds[0]);
		return CMD_FAILED;
	}
	return await(o, fds[0], pid);
}

/* ---- the mount point ---- */

/* A mount whose process was killed is in the way: clear it. */
static int clear_dead(char *path)
{
	struct err e = ERR_INIT;
	char *status = NULL;
	int rc;

	if (!cmd_is_mounted(path))
		return 0;
	/* The kernel may still have the attributes of its top; this it has to ask for. */
	rc = cmd_read_status(path, &status, NULL);
	free(status);
	if (rc != -ENOTCONN && rc != -ECONNABORTED)
		return 0;
	if (cmd_unmount(path, true, &e)) {
		cmd_complain("a dead mount is in the way: %s", e.msg);
		return CMD_FAILED;
	}
	return 0;
}

static int check_mountpoint(struct options *o)
{
	struct err e = ERR_INIT;
	char *real = cmd_real_path(o->mountpoint, &e);
	struct stat st;

	if (!real) {
		cmd_complain("the mount point can't be used: %s%s", e.msg,
			     e.code == -ENOENT ? "; make the directory first" : "");
		return CMD_FAILED;
	}
	free(o->mountpoint);
	o->mountpoint = real;
	if (clear_dead(real))
		return CMD_FAILED;
	if (stat(real, &st) < 0 || !S_ISDIR(st.st_mode)) {
		cmd_complain("the mount point %s is not a directory", real);
		return CMD_FAILED;
	}
	if (cmd_is_mounted(real)) {
		cmd_complain("mlenvfs is mounted at %s already; 'mlenvfs umount %s' first", real,
			     real);
		return CMD_FAILED;
	}
	return 0;
}

/* Files are named relative to where we were started; the background process is elsewhere. */
static int make_absolute(char **path)
{
	_cleanup_free_ char *cwd = NULL;
	char *joined;

	if (!*path || **path == '/')
		return 0;
	cwd = getcwd(NULL, 0);
	if (!cwd || asprintf(&joined, "%s/%s", cwd, *path) < 0)
		return -ENOMEM;
	free(*path);
	*path = joined;
	return 0;
}

/* ---- the command line ---- */

static int take_positionals(struct options *o, int argc, char **argv)
{
	if (argc == 1) {
		o->mountpoint = strdup(argv[0]);
	} else if (argc == 2) {
		/* mount(8) writes "none" or "mlenvfs" where fstab has no source. */
		if (strcmp(argv[0], "none") != 0 && strcmp(argv[0], "mlenvfs") != 0)
			o->source = strdup(argv[0]);
		o->mountpoint = strdup(argv[1]);
	} else {
		return argc ? cmd_usage("mount", "too many arguments: '%s'", argv[2])
			    : cmd_usage("mount", "which directory? A mount point is missing");
	}
	return o->mountpoint ? 0 : CMD_FAILED;
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"foreground", no_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {0}};
	/* mount(8) means something else by -f: everything but the mounting. */
	bool by_mount = strcmp(argv[0], "mount") != 0, fake = false;
	struct err e = ERR_INIT;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "+:fo:hnsvrwt:N:", longs, NULL)) != -1) {
		switch (c) {
		case 'f':
			fake = by_mount;
			o->foreground = !by_mount;
			break;
		case 'o':
			if (options_parse(o, optarg, &e))
				return cmd_usage("mount", "%s", e.msg);
			break;
		case 'r':
			o->ro = true;
			break;
		case 'h':
			fputs(cmd_mount_help, stdout);
			options_help(stdout);
			return -1;
		case ':':
			return cmd_usage("mount", "-%c needs a value", optopt);
		case '?':
			return cmd_usage("mount", "unknown option '%s'", argv[optind - 1]);
		default: /* -n -s -v -w -t -N: what mount(8) passes on */
			break;
		}
	}
	c = take_positionals(o, argc - optind, argv + optind);
	return c || !fake ? c : -1;
}

/* mount(8) calls its helpers with SOURCE MOUNTPOINT first and the options behind. */
static void options_first(int argc, char **argv)
{
	char *first, *second;

	if (argc < 4 || argv[1][0] == '-' || argv[2][0] == '-' || argv[3][0] != '-')
		return;
	first = argv[1];
	second = argv[2];
	memmove(argv + 1, argv + 3, (size_t)(argc - 3) * sizeof(*argv));
	argv[argc - 2] = first;
	argv[argc - 1] = second;
}

int cmd_mount(int argc, char **argv)
{
	struct options o;
	struct err e = ERR_INIT;
	struct source_uri uri;
	int status;

	options_init(&o);
	options_first(argc, argv);
	status = parse(&o, argc, argv);
	if (status) {
		options_clear(&o);
		return status < 0 ? CMD_OK : status;
	}
	if (source_uri_parse(o.source, &uri, &e))
		status = cmd_usage("mount", "%s", e.msg);
	source_uri_clear(&uri);
	if (!status && o.builder && !emu_builder_known(o.builder))
		status = cmd_usage("mount",
				   "builder=%s: none of auto, buildah, podman, docker, none, and "
				   "no absolute path",
				   o.builder);
	if (!status && (make_absolute(&o.store) || make_absolute(&o.cache_dir) ||
			make_absolute(&o.log_file) || make_absolute(&o.cafile)))
		status = CMD_FAILED;
	if (!status)
		status = check_mountpoint(&o);
	if (!status)
		status = open_log(&o);
	if (!status)
		status = o.foreground ? run_foreground(&o) : run_background(&o);
	options_clear(&o);
	return status;
}
