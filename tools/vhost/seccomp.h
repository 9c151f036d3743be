/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vhost-user-guard: the system calls that it may make from now on.
 */
#ifndef VHOST_GUARD_SECCOMP_H
#define VHOST_GUARD_SECCOMP_H

#include <stdbool.h>

/**
 * confine() - allow only the calls that the program makes; any other kills it
 * @connecting: also those that make connections and take away sockets
 * @paths: also the one that tells which file a path names
 *
 * Can be called again, for less. Needs no_new_privs.
 *
 * Return: 0, or -1 with errno set.
 */
int confine(bool connecting, bool paths);

#endif
