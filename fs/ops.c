#include "fs/ops.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "client/clock.h"
#include "client/log.h"
#include "fs/name.h"
#include "fs/save.h"

struct fsys *ops_fsys(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct node *ops_node(fuse_req_t req, fuse_ino_t ino)
{
	struct node *n = node_get(ops_fsys(req)->nodes, ino);

	if (!n)
		fuse_reply_err(req, ESTALE);
	return n;
}

static void interrupted(fuse_req_t req, void *data)
{
	struct call *call = data;

	(void)req;
	call_cancel(call);
}

void ops_wait_begin(struct ops_wait *w, fuse_req_t req)
{
	w->req = req;
	call_init(&w->call, clock_mono() + ops_fsys(req)->timeout, CALL_INTERACTIVE);
	w->call.who = fuse_req_ctx(req)->pid;
	fuse_req_interrupt_func(req, interrupted, &w->call);
}

void ops_wait_end(struct ops_wait *w)
{
	/* Once this returns, `interrupted` is not running and will not: libfuse holds a lock. */
	fuse_req_interrupt_func(w->req, NULL, NULL);
	call_destroy(&w->call);
}

/* What programs know how to take. The rest of the story is in the log. */
static int program_errno(int rc)
{
	switch (-rc) {
	case ECANCELED:
		return EINTR;
	case EBADMSG:
	case EFBIG:
	case EINVAL:
		return EIO;
	default:
		return -rc;
	}
}

static bool is_ordinary(int rc)
{
	return rc == -ENOENT || rc == -ESTALE || rc == -ECANCELED || rc == -ENOTDIR ||
	       rc == -EROFS || rc == -ENODATA || rc == -EOPNOTSUPP;
}

void ops_reply_error(fuse_req_t req, const char *what, const struct node *n, const char *name,
		     int rc, const struct err *e)
{
	if (!is_ordinary(rc) || (rc == -EROFS && e && e->msg[0]))
		log_warn("op=%s scope=%s env=%s name=%s errno=%d: %s", what,
			 n && n->scope ? n->scope->name : "-", n ? n->name : "-", name ? name : "",
			 program_errno(rc), err_text(e, rc));
	fuse_reply_err(req, program_errno(rc));
}

void ops_reply_save(fuse_req_t req, const char *what, const struct node *n, const char *name,
		    int rc, const struct err *e)
{
	/* What a file of the disk is called says nothing to people: its directory's name does. */
	const struct node *dir = n;

	while (dir && dir->kind == NODE_LOCAL)
		dir = dir->parent;
	rc = save_errno(rc);
	if (rc)
		log_warn("op=%s scope=%s dir=%s name=%s errno=%d: %s", what,
			 dir && dir->scope ? dir->scope->name : "-", dir ? dir->name : "-",
			 name ? name : "", -rc, err_text(e, rc));
	fuse_reply_err(req, -rc);
}

void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fsys *fs = ops_fsys(req);
	struct statvfs st;

	(void)ino;
	/* Drafts and caches lie on the local disk: its space is what a writer has. */
	if (statvfs(fs->local_dir, &st) < 0)
		st = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096};
	st.f_files = 0;
	st.f_ffree = 0;
	st.f_favail = 0;
	st.f_namemax = NAME_SIZE - 1;
	fuse_reply_statfs(req, &st);
}
