/*
 * cmd - the subcommands of mlenvfs. Each takes its own argc and argv (argv[0] is the subcommand),
 * prints to stdout, explains failures on stderr, and returns the exit status: 0, 1 when it failed,
 * 2 when it was called wrongly (build: 130 when the user left).
 */
#ifndef MLENVFS_FS_CMD_H
#define MLENVFS_FS_CMD_H

#include <stdbool.h>
#include <stddef.h>

#include "client/err.h"

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2 };

int cmd_mount(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_build(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_discard(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_cache(int argc, char **argv);
int cmd_warm(int argc, char **argv);
int cmd_login(int argc, char **argv);
int cmd_logout(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

/* Each command's help text, ending in a line end. */
extern const char cmd_mount_help[];
extern const char cmd_umount_help[];
extern const char cmd_status_help[];
extern const char cmd_info_help[];
extern const char cmd_build_help[];
extern const char cmd_import_help[];
extern const char cmd_discard_help[];
extern const char cmd_serve_help[];
extern const char cmd_cache_help[];
extern const char cmd_warm_help[];
extern const char cmd_login_help[];
extern const char cmd_logout_help[];
extern const char cmd_doctor_help[];

/* Prints "mlenvfs: ..." to stderr. */
void cmd_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Complains about a wrong call and says where help is; returns CMD_USAGE.
 */
int cmd_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One mounted mlenvfs, as /proc/self/mountinfo has it. */
struct cmd_mounted {
	char *mountpoint;
	char *source;
	unsigned int user; /* who mounted it; UINT_MAX: it is not said */
};

/* All of them; *n is their number. free() each member and the array with cmd_mounts_free(). */
int cmd_mounts(struct cmd_mounted **out, size_t *n, struct err *e);
void cmd_mounts_free(struct cmd_mounted *m, size_t n);

/*
 * True when what is mounted at path (of which it is the top) was mounted by this user, as the
 * kernel has it.
 */
bool cmd_is_mine(const char *path);

/* True when path (absolute, no symlinks) is the mount point of one. */
bool cmd_is_mounted(const char *path);

/* Runs fusermount3 (or umount as root) on an absolute path. 0, or -EBUSY, -EIO, ... with a text. */
int cmd_unmount(const char *path, bool lazy, struct err *e);

/* The status JSON of the mount at path; *out is to be freed. */
int cmd_read_status(const char *path, char **out, struct err *e);

/*
 * path as an absolute one without symlinks, also when what is mounted there is dead. To be freed;
 * NULL with a text when it is not there.
 */
char *cmd_real_path(const char *path, struct err *e);

#endif
