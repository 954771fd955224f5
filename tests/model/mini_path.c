/* mini_path - the inodes that the kernel knows, and paths. */
#include "tests/model/mini_int.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mini_inode **slot_of(struct mini *m, fuse_ino_t ino)
{
	struct mini_inode **at = &m->inodes[ino % MINI_INODES];

	while (*at && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

static struct mini_inode *inode_get(struct mini *m, fuse_ino_t ino, mode_t type)
{
	struct mini_inode **at = slot_of(m, ino);

	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			exit(1);
		(*at)->ino = ino;
		(*at)->type = type;
	}
	return *at;
}

struct mini *mini_new(struct fsys *fs)
{
	struct mini *m = calloc(1, sizeof(*m));

	if (!m)
		exit(1);
	m->fs = fs;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->replied, NULL);
	inode_get(m, FUSE_ROOT_ID, S_IFDIR);
	return m;
}

static void forget(struct mini *m, struct mini_inode *inode)
{
	struct fuse_req *req = mini_request(m, 0, "forget");

	ops_table.forget(req, inode->ino, inode->lookups);
	mini_wait(req, REPLY_FORGOTTEN);
}

void mini_forget(struct mini *m)
{
	mini_changed(m);
	for (size_t i = 0; i < MINI_INODES; i++) {
		struct mini_inode **at = &m->inodes[i], *inode;

		while ((inode = *at)) {
			if (inode->opens || inode->ino == FUSE_ROOT_ID) {
				at = &inode->next;
				continue;
			}
			*at = inode->next;
			forget(m, inode);
			free(inode);
		}
	}
}

static void free_requests(struct mini *m)
{
	for (struct fuse_req *req = m->requests, *next; req; req = next) {
		next = req->next;
		free(req->data);
		free(req);
	}
}

void mini_free(struct mini *m)
{
	mini_release_all(m);
	mini_forget(m);
	free(*slot_of(m, FUSE_ROOT_ID));
	free_requests(m);
	pthread_cond_destroy(&m->replied);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

const char *mini_problem(struct mini *m)
{
	const char *problem;

	pthread_mutex_lock(&m->lock);
	problem = m->problem[0] ? m->problem : NULL;
	pthread_mutex_unlock(&m->lock);
	return problem;
}

struct mini_inode *mini_told(struct mini *m, const struct fuse_entry_param *entry, const char *name)
{
	mode_t type = entry->attr.st_mode & S_IFMT;
	struct mini_inode *inode;

	if (!entry->ino || entry->ino == FUSE_ROOT_ID) {
		mini_complain(m, "%s has the inode number %llu", name,
			      (unsigned long long)entry->ino);
		return NULL;
	}
	inode = inode_get(m, entry->ino, type);
	/* Linux takes a number whose type changed for another, new inode. */
	if (inode->type != type && inode->opens)
		mini_complain(m, "%s: inode %llu changed its type from %o to %o while it was open",
			      name, (unsigned long long)entry->ino, inode->type, type);
	inode->type = type;
	inode->lookups++;
	return inode;
}

/* ---- paths ---- */

static int lookup(struct mini *m, pid_t by, fuse_ino_t dir, const char *name,
		  struct mini_inode **out)
{
	struct fuse_req *req = mini_request(m, by, "lookup");
	int rc;

	*out = NULL;
	ops_table.lookup(req, dir, name);
	rc = mini_wait(req, REPLY_ENTRY);
	if (rc == -ENOENT || (!rc && !req->entry.ino))
		return 0;
	if (rc)
		return rc;
	*out = mini_told(m, &req->entry, name);
	return *out ? 0 : -EIO;
}

static int readlink_of(struct mini *m, pid_t by, fuse_ino_t ino, char out[PATH_MAX])
{
	struct fuse_req *req = mini_request(m, by, "readlink");
	int rc;

	ops_table.readlink(req, ino);
	rc = mini_wait(req, REPLY_DATA);
	if (rc)
		return rc;
	if (!req->len || req->len >= PATH_MAX)
		return -EIO;
	memcpy(out, req->data, req->len + 1);
	return 0;
}

/* A walk: the directories that led here, and what is still to be walked. */
struct walk {
	struct mini_trail at;
	unsigned int links;
	char rest[2 * PATH_MAX];
};

/* Takes the next part off the path. False at its end. */
static bool next_part(struct walk *w, char name[MINI_NAME_MAX])
{
	const char *from = w->rest + strspn(w->rest, "/");
	size_t len = strcspn(from, "/");

	if (!len)
		return false;
	len = len < MINI_NAME_MAX ? len : MINI_NAME_MAX - 1;
	memcpy(name, from, len);
	name[len] = '\0';
	memmove(w->rest, from + len, strlen(from + len) + 1);
	return true;
}

static bool at_end(const struct walk *w)
{
	return !w->rest[strspn(w->rest, "/")];
}

/* Puts a link's target before what is left. Absolute ones lead out of the mount. */
static int follow_link(struct mini *m, pid_t by, struct walk *w, fuse_ino_t ino)
{
	char target[PATH_MAX], all[2 * PATH_MAX];
	int rc = readlink_of(m, by, ino, target);

	if (rc)
		return rc;
	if (++w->links > MINI_LINKS_MAX)
		return -ELOOP;
	if (target[0] == '/')
		return -ENOENT;
	if ((size_t)snprintf(all, sizeof(all), "%s/%s", target, w->rest) >= sizeof(all))
		return -ENAMETOOLONG;
	memcpy(w->rest, all, strlen(all) + 1);
	return 0;
}

static int step(struct mini *m, pid_t by, struct walk *w, bool follow, struct mini_place *p)
{
	int rc;

	p->dir = w->at.dirs[w->at.depth];
	if (strcmp(p->name, ".") == 0 || strcmp(p->name, "..") == 0) {
		if (p->name[1] && w->at.depth)
			w->at.depth--;
		p->inode = *slot_of(m, w->at.dirs[w->at.depth]);
		return 0;
	}
	rc = lookup(m, by, p->dir, p->name, &p->inode);
	if (rc || !p->inode)
		return rc ? rc : at_end(w) ? 0 : -ENOENT;
	if (p->inode->type == S_IFLNK && (follow || !at_end(w)))
		return follow_link(m, by, w, p->inode->ino);
	if (at_end(w))
		return 0;
	if (p->inode->type != S_IFDIR)
		return -ENOTDIR;
	if (w->at.depth + 1 == MINI_DEPTH)
		return -ENAMETOOLONG;
	w->at.dirs[++w->at.depth] = p->inode->ino;
	return 0;
}

void mini_changed(struct mini *m)
{
	m->last[0] = '\0';
}

/* Begins at the directory of the path when the last one led there too. */
static void begin(struct mini *m, struct walk *w, const char *path, const char *name)
{
	size_t len = name ? (size_t)(name - path) : 0;

	if (!name || strlen(m->last) != len || memcmp(m->last, path, len) != 0)
		return;
	w->at = m->trail;
	memmove(w->rest, w->rest + len, strlen(w->rest + len) + 1);
}

static void remember(struct mini *m, const struct walk *w, const char *path, const char *name)
{
	size_t len = name ? (size_t)(name - path) : 0;

	mini_changed(m);
	if (!name || len >= sizeof(m->last) || w->links)
		return;
	memcpy(m->last, path, len);
	m->last[len] = '\0';
	m->trail = w->at;
}

int mini_walk(struct mini *m, pid_t by, const char *path, bool follow, struct mini_place *place)
{
	struct walk w = {.at = {.dirs = {FUSE_ROOT_ID}}};
	const char *slash = strrchr(path, '/'), *name = slash && slash[1] ? slash + 1 : NULL;
	int rc = 0;

	*place = (struct mini_place){.dir = FUSE_ROOT_ID, .inode = *slot_of(m, FUSE_ROOT_ID)};
	if ((size_t)snprintf(w.rest, sizeof(w.rest), "%s", path) >= sizeof(w.rest))
		return -ENAMETOOLONG;
	begin(m, &w, path, name);
	while (!rc && next_part(&w, place->name))
		rc = step(m, by, &w, follow, place);
	if (!rc)
		remember(m, &w, path, name);
	return rc;
}

int mini_find(struct mini *m, pid_t by, const char *path, bool follow, struct mini_inode **out)
{
	struct mini_place place;
	int rc = mini_walk(m, by, path, follow, &place);

	*out = place.inode;
	return rc ? rc : place.inode ? 0 : -ENOENT;
}
