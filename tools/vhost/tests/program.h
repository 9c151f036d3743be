/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The program itself, as a child of the test, and sockets in a folder that goes
 * when the test ends.
 */
#ifndef _VHOST_TESTS_PROGRAM_H
#define _VHOST_TESTS_PROGRAM_H

#include "session.h"

/* One run of the program */
struct run {
	pid_t pid;
	int out;		/* stdout and stderr of the program */
	char text[8192];
	int status;
};

void run_start(struct run *r, const char * const *args, int keep);
void run_end(struct run *r);
void run_until(struct run *r, const char *what);

int sock_listen(const char *name);
int sock_accept(int fd);
int sock_connect(const char *name);
bool wait_readable(int fd);

/* A session through the program; how it ends is up to the caller. */
struct session {
	struct run run;
	int listener;
	int front;
	int back;
};

void session_start(struct session *s, const char *extra);
void session_exchange(struct session *s);
void session_close(struct session *s);

#endif
