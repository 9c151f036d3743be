// SPDX-License-Identifier: GPL-2.0-only
/*
 * The working parts of isolation-canary.sh: fill memory with a known string,
 * the canary, keep it alive in many kinds of memory, and do I/O of other data
 * beside it, every byte of which is verified.
 *
 * usage: isolation-canary fill FILE LEAVE-MIB MOST-MIB
 *        isolation-canary hold DIR ANON-MIB
 *        isolation-canary read FILE HOW FIRST-KIB KIB BLOCK-BYTES once|endless
 *        isolation-canary write FILE HOW FIRST-KIB KIB BLOCK-BYTES once|endless
 *        isolation-canary meta DIR
 *
 * HOW is buffered, direct (from and to memory without the canary), beside
 * (direct, in the middle of pages that hold the canary, as does the buffer
 * itself before it is read into), tmpfs (the same, with pages of a file in
 * tmpfs) or contiguous (the same, with pages that follow each other). What goes
 * on for ever ends well with SIGTERM, once the I/O under way is done and
 * verified.
 *
 * All data consists of lines of 32 bytes with the number of the line in their
 * file. In what the guest writes, each starts with the second string, the
 * marker, which the search on the host must find.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define CANARY_LEN	8
#define MARKER_LEN	16
#define LINE		32
#define PAGE		4096
#define MIB		(1024 * 1024UL)
/* Where in its pages the data of "beside" and "tmpfs" starts. */
#define BESIDE		512

static char canary[CANARY_LEN + 1], marker[MARKER_LEN + 1];

/* SIGTERM is blocked: I/O under way is finished and looked at first. */
static bool ended(void)
{
	sigset_t pending;

	return !sigpending(&pending) && sigismember(&pending, SIGTERM);
}

static void die(const char *what)
{
	fprintf(stderr, "isolation-canary: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void load(const char *path, char *to, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, to, len) != (ssize_t)len)
		die(path);
	close(fd);
}

/* The canary all over; @phase is the distance from where a copy starts. */
static void paint(char *buf, size_t len, size_t phase)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = canary[(phase + i) % CANARY_LEN];
}

static bool painted(const char *buf, size_t len, size_t phase)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (buf[i] != canary[(phase + i) % CANARY_LEN])
			return false;
	return true;
}

static void lines(char *buf, size_t len, uint64_t pos, const char *prefix)
{
	size_t prefix_len = strlen(prefix), i;
	uint64_t n = pos / LINE, left;

	for (; len; len -= LINE, buf += LINE, n++) {
		memcpy(buf, prefix, prefix_len);
		for (left = n, i = LINE - 1; i > prefix_len; left /= 10)
			buf[--i] = '0' + left % 10;
		buf[LINE - 1] = '\n';
	}
}

static void *anonymous(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/* A packet socket's ring: one allocation of adjacent pages, if the kernel has them. */
static void *contiguous(size_t len)
{
	struct tpacket_req req = {
		.tp_block_size = len,
		.tp_block_nr = 1,
		.tp_frame_size = len,
		.tp_frame_nr = 1,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	void *p;

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		die("packet socket");
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap of a packet socket");
	return p;
}

/* Memory full of canaries, and a file that can be removed to free it. */
static int fill(const char *path, size_t leave, size_t most)
{
	char *block = anonymous(MIB);
	size_t done = 0;
	struct sysinfo info;
	int fd;

	paint(block, MIB, 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die(path);
	for (; done < most; done += MIB) {
		if (sysinfo(&info))
			die("sysinfo");
		if (info.freeram * info.mem_unit < leave)
			break;
		if (write(fd, block, MIB) != (ssize_t)MIB)
			die(path);
	}
	close(fd);
	printf("%zu\n", done / CANARY_LEN);
	return 0;
}

#define NAMES		1000
#define PAIRS		16
#define PIPE_LEN	65536
#define SLAB_MAX	240

static int datagrams[PAIRS][2], pipes[PAIRS][2], queues[PAIRS];

struct message {
	long type;
	char text[SLAB_MAX];
};

/* Objects of many sizes: a name and a link's target each are a kmalloc(). */
static void names(const char *dir, int number)
{
	char path[512], target[SLAB_MAX + 1];
	size_t len = 8 + number % (SLAB_MAX - 8);
	int used;

	used = snprintf(path, sizeof(path), "%s/%d-", dir, number);
	paint(path + used, len, 0);
	path[used + len] = '\0';
	paint(target, len, 0);
	target[len] = '\0';
	unlink(path);
	if (symlink(target, path))
		die(path);
}

/* As many messages as fit: each is a socket buffer, or a kmalloc(). */
static void messages(int pair)
{
	struct message msg = { .type = 1 };
	size_t len = 8;

	paint(msg.text, sizeof(msg.text), 0);
	while (send(datagrams[pair][0], msg.text, len, MSG_DONTWAIT) > 0)
		len = 8 + (len + 23) % (SLAB_MAX - 8);
	while (!msgsnd(queues[pair], &msg, len, IPC_NOWAIT))
		len = 8 + (len + 23) % (SLAB_MAX - 8);
}

static void pipeful(int pair)
{
	char buf[PIPE_LEN];

	paint(buf, sizeof(buf), 0);
	if (write(pipes[pair][1], buf, sizeof(buf)) != sizeof(buf))
		die("write to a pipe");
}

static bool drain(int pair)
{
	struct message msg;
	char buf[PIPE_LEN];
	bool good = true;
	ssize_t len;

	while ((len = recv(datagrams[pair][1], buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		good &= painted(buf, len, 0);
	while ((len = msgrcv(queues[pair], &msg, sizeof(msg.text), 0, IPC_NOWAIT)) > 0)
		good &= painted(msg.text, len, 0);
	for (len = 0; len < PIPE_LEN;) {
		ssize_t got = read(pipes[pair][0], buf + len, PIPE_LEN - len);

		if (got <= 0)
			die("read from a pipe");
		len += got;
	}
	return good && painted(buf, PIPE_LEN, 0);
}

/* The canary alive in anonymous memory, slab and buffers of the kernel. */
static int hold(const char *dir, size_t anon_len)
{
	char *anon = anonymous(anon_len);
	bool good = true;
	int i, n = 0;

	paint(anon, anon_len, 0);
	for (i = 0; i < NAMES; i++)
		names(dir, i);
	for (i = 0; i < PAIRS; i++) {
		queues[i] = msgget(IPC_PRIVATE, 0600);
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams[i]) ||
		    pipe(pipes[i]) || queues[i] < 0)
			die("socket, pipe or message queue");
		messages(i);
		pipeful(i);
	}
	puts("held");
	fflush(stdout);
	/* Free objects beside others that live on: the next allocations are there. */
	for (; !ended(); n++) {
		for (i = 0; i < 16; i++)
			names(dir, (n * 37 + i * 61) % NAMES);
		good &= drain(n % PAIRS);
		messages(n % PAIRS);
		pipeful(n % PAIRS);
		usleep(5000);
	}
	for (i = 0; i < PAIRS; i++) {
		good &= drain(i);
		msgctl(queues[i], IPC_RMID, NULL);
	}
	good &= painted(anon, anon_len, 0);
	if (!good)
		fprintf(stderr, "isolation-canary: what was held has changed\n");
	return !good;
}

struct job {
	const char *path;
	uint64_t first, len;
	size_t block;
	bool writing, direct, beside, endless;
	/* The data is in the middle of this, or all of it. */
	char *room;
	size_t room_len;
	char *data, *want;
};

/* Fill the buffer and the memory around it: neither may start as zeroes. */
static void dirty(const struct job *job)
{
	if (job->beside)
		paint(job->room, job->room_len, 0);
	else
		memset(job->room, 0x5a, job->room_len);
}

/* Is the memory around the data still as dirty() left it? */
static bool around(const struct job *job)
{
	size_t head = job->data - job->room, tail = head + job->block;

	return !job->beside ||
	       (painted(job->room, head, 0) &&
		painted(job->room + tail, job->room_len - tail, tail));
}

static bool transfer(const struct job *job, int fd, uint64_t pos, bool writing)
{
	ssize_t ret;

	dirty(job);
	lines(job->want, job->block, pos, job->writing ? marker : "");
	if (writing) {
		memcpy(job->data, job->want, job->block);
		ret = pwrite(fd, job->data, job->block, pos);
	} else {
		ret = pread(fd, job->data, job->block, pos);
	}
	if (ret != (ssize_t)job->block) {
		fprintf(stderr, "isolation-canary: %s: %s at %llu: %s\n", job->path,
			writing ? "write" : "read", (unsigned long long)pos,
			ret < 0 ? strerror(errno) : "short");
		return false;
	}
	if (memcmp(job->data, job->want, job->block) || !around(job)) {
		fprintf(stderr, "isolation-canary: %s: wrong data at %llu after a %s\n",
			job->path, (unsigned long long)pos, writing ? "write" : "read");
		return false;
	}
	return true;
}

static bool pass(const struct job *job, int fd, bool writing)
{
	uint64_t pos;

	for (pos = job->first; pos < job->first + job->len; pos += job->block)
		if (!transfer(job, fd, pos, writing))
			return false;
	if (writing && fsync(fd))
		die("fsync");
	/* The next pass is to come from the device. */
	posix_fadvise(fd, job->first, job->len, POSIX_FADV_DONTNEED);
	return true;
}

static int io(bool writing, char **argv)
{
	struct job job = {
		.path = argv[0],
		.first = strtoull(argv[2], NULL, 0) << 10,
		.len = strtoull(argv[3], NULL, 0) << 10,
		.block = strtoul(argv[4], NULL, 0),
		.writing = writing,
		.endless = !strcmp(argv[5], "endless"),
	};
	bool tmpfs = !strcmp(argv[1], "tmpfs");
	bool ring = !strcmp(argv[1], "contiguous");
	bool good;
	int fd;

	job.beside = tmpfs || ring || !strcmp(argv[1], "beside");
	job.direct = job.beside || !strcmp(argv[1], "direct");
	if (!job.block || job.block % BESIDE || job.len % job.block) {
		fprintf(stderr, "isolation-canary: bad block size %zu\n", job.block);
		return 2;
	}
	job.room_len = (job.block + 2 * PAGE - 1) / PAGE * PAGE;
	job.room = ring ? contiguous(job.room_len) : anonymous(job.room_len);
	if (tmpfs) {
		fd = memfd_create("canary", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, job.room_len) ||
		    mmap(job.room, job.room_len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
			die("memfd");
	}
	job.data = job.room + (job.beside ? BESIDE : 0);
	job.want = anonymous(job.block);

	fd = open(job.path, (writing ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC |
		  (job.direct ? O_DIRECT : 0), 0600);
	if (fd < 0)
		die(job.path);
	do {
		good = (!writing || pass(&job, fd, true)) && pass(&job, fd, false);
	} while (good && job.endless && !ended());
	close(fd);
	return !good;
}

/* Metadata: names, directories, small files; names and data without canary. */
static int meta(const char *dir)
{
	char path[256], other[256], text[128 * LINE];
	int n = 0, fd;

	lines(text, sizeof(text), 0, marker);
	while (!ended()) {
		snprintf(path, sizeof(path), "%s/d%d", dir, n % 8);
		if (mkdir(path, 0700) && errno != EEXIST)
			die(path);
		snprintf(path, sizeof(path), "%s/d%d/file%d", dir, n % 8, n % 100);
		snprintf(other, sizeof(other), "%s/d%d/renamed%d", dir, (n + 3) % 8, n % 50);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, text, 1 + n * 97 % sizeof(text)) < 0)
			die(path);
		if (n % 4 == 0 && fsync(fd))
			die("fsync");
		close(fd);
		if (rename(path, other) && errno != ENOENT)
			die(path);
		if (n % 3 == 0 && unlink(other) && errno != ENOENT)
			die(other);
		n++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	load("/etc/canary", canary, CANARY_LEN);
	load("/etc/marker", marker, MARKER_LEN);
	if (!strcmp(what, "fill") && argc == 5)
		return fill(argv[2], strtoul(argv[3], NULL, 0) * MIB,
			    strtoul(argv[4], NULL, 0) * MIB);
	if (!strcmp(what, "hold") && argc == 4)
		return hold(argv[2], strtoul(argv[3], NULL, 0) * MIB);
	if ((!strcmp(what, "read") || !strcmp(what, "write")) && argc == 8)
		return io(*what == 'w', argv + 2);
	if (!strcmp(what, "meta") && argc == 3)
		return meta(argv[2]);
	fprintf(stderr, "isolation-canary: bad arguments\n");
	return 2;
}
