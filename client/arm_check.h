/*
 * arm_check - questions about an Azure source that no mount asks: what of it works, for people who
 * look for a fault.
 */
#ifndef MLENVFS_CLIENT_ARM_CHECK_H
#define MLENVFS_CLIENT_ARM_CHECK_H

#include "client/source.h"

/*
 * Asks for the subscription itself. Its name, or its id, is appended to what. -ENOENT when there is
 * none with this id for whoever asks; -EPERM when it may not be looked at, which is enough for
 * somebody who may use a workspace of it; -EOPNOTSUPP when the service does not know the question;
 * otherwise as other requests.
 */
int arm_check_subscription(struct source *source, struct call *c, struct buf *what, struct err *e);

/*
 * Whether the container for build contexts of a workspace can be read. Where it is and what opens
 * it is appended to what. Errors as of reading a context.
 */
int arm_check_storage(struct source *source, struct scope *scope, struct call *c, struct buf *what,
		      struct err *e);

#endif
