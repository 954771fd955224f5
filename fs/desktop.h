/*
 * desktop - tells the user of something that no program can be told.
 *
 * Some editors show no error when a save fails, and a mapped file is written when nobody waits for
 * the answer. Where there is a desktop (a session bus, and notify-send on PATH) a notification says
 * so. It is an addition to the log and to `mlenvfs status`, never instead of them.
 */
#ifndef MLENVFS_FS_DESKTOP_H
#define MLENVFS_FS_DESKTOP_H

#include "client/clock.h"

#define DESKTOP_PAUSE (5 * NS_PER_S)

/*
 * Shows both texts, with secrets taken out; copies are made. At most one notification in
 * DESKTOP_PAUSE, and one at a time: others are not shown. The rest is done by a thread of its own;
 * the caller waits for nothing. Any thread.
 */
void desktop_notify(const char *summary, const char *body);

#endif
