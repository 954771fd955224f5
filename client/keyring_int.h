/*
 * keyring_int - what the two sides of keyring agree on: keyring.c asks, keyring_child.c is asked.
 */
#ifndef MLENVFS_CLIENT_KEYRING_INT_H
#define MLENVFS_CLIENT_KEYRING_INT_H

/* Exit statuses of the helper. */
enum { KEYRING_EXIT_NONE = 3, KEYRING_EXIT_UNAVAILABLE = 4 };

#endif
