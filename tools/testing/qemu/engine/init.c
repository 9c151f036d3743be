// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of a test guest, and its "host" command.
 *
 * Runs the programs listed in /etc/tests one after the other and reports to
 * the host over a second channel, so that neither a chatty kernel log nor the
 * device under test can change a verdict. The channel is a 16550 on QEMU's
 * "pci-serial", driven from here by port reads and writes through sysfs: no
 * driver is bound and no DMA is set up, so it works even where every device
 * below the host bridge is refused. README.md describes the lines.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define __printf(a, b)	__attribute__((format(printf, a, b)))
#define __noreturn	__attribute__((noreturn))

#define TESTS		"/etc/tests"
#define HOST_SOCKET	"/run/host"
/* One request or test line; longer output lines are passed on in pieces. */
#define LINE_MAX_LEN	4096

/*
 * How slow the machine is: the time that some work takes, compared with what it
 * takes, emulated, on the machine that limits were set for.
 */
#define WORK_LOOPS	6000000
#define WORK_SECONDS	0.010
/* A test hangs if it prints nothing for its limit; in all it has CEILING limits. */
#define CEILING		3

/* 16550 registers and bits. */
#define UART_RBR	0
#define UART_THR	0
#define UART_IER	1
#define UART_FCR	2
#define UART_LCR	3
#define UART_MCR	4
#define UART_LSR	5
#define LCR_8N1		0x03
#define MCR_DTR_RTS	0x03
#define FCR_ENABLE_CLR	0x07
#define LSR_DR		0x01
#define LSR_THRE	0x20
#define LSR_TEMT	0x40
#define UART_FIFO_LEN	16

static int uart = -1;
static int kmsg = -1;
/* "guest.hardoff": do not wait for devices that a test has made hang. */
static bool hardoff;
/* "guest.icount": time is instructions here, and no machine is slow. */
static bool icount;
/* "guest.factor=N": how much slower this kernel is; limits have it already. */
static double factor = 1;
/* How many times slower the machine is than limits take it to be, at least 1. */
static double slow = 1;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Some work; the compiler must neither know its result nor do without it. */
static void work(void)
{
	unsigned int x = 1, i;

	__asm__ volatile("" : "+r" (x));
	for (i = 0; i < WORK_LOOPS; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
	}
	__asm__ volatile("" : : "r" (x));
}

/* Measure @slow, for @seconds of the usual machine. */
static void measure(double seconds)
{
	int n = seconds / WORK_SECONDS, i;
	double start = now();

	if (icount)
		return;
	for (i = 0; i < n; i++)
		work();
	slow = (now() - start) / (n * WORK_SECONDS);
	if (slow < 1)
		slow = 1;
}

/* Write to the kernel log, so that kernel messages have their place in time. */
__printf(1, 2)
static void mark(const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	int len;

	len = snprintf(buf, sizeof(buf), "<5>check: ");
	va_start(ap, fmt);
	vsnprintf(buf + len, sizeof(buf) - len, fmt, ap);
	va_end(ap);
	if (kmsg >= 0 && write(kmsg, buf, strlen(buf)) < 0)
		perror("/dev/kmsg");
}

static int read_text(const char *path, char *buf, size_t size)
{
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	len = read(fd, buf, size - 1);
	close(fd);
	if (len < 0)
		return -1;
	buf[len] = '\0';
	return 0;
}

static int write_text(const char *path, const char *text)
{
	ssize_t len = strlen(text), ret;
	int fd;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ret = write(fd, text, len);
	close(fd);
	return ret == len ? 0 : -1;
}

__noreturn
static void power_off(void)
{
	if (hardoff)
		/* A reset with no shutdown of devices; QEMU has -no-reboot. */
		write_text("/proc/sysrq-trigger", "b");
	sync();
	reboot(RB_POWER_OFF);
	/* If power-off fails: the end of PID 1 is a panic, which is as final. */
	_exit(1);
}

__noreturn __printf(1, 2)
static void fatal(const char *fmt, ...)
{
	char buf[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	mark("giving up: %s: %s", buf, strerror(errno));
	power_off();
}

static unsigned char uart_in(int reg)
{
	unsigned char val = 0xff;

	if (pread(uart, &val, 1, reg) != 1)
		fatal("verdict channel: cannot read register %d", reg);
	return val;
}

static void uart_out(int reg, unsigned char val)
{
	if (pwrite(uart, &val, 1, reg) != 1)
		fatal("verdict channel: cannot write register %d", reg);
}

static void uart_open(void)
{
	static const char dir[] = "/sys/bus/pci/devices";
	char path[512], id[64];
	struct dirent *e;
	DIR *d;

	d = opendir(dir);
	if (!d)
		fatal("no PCI bus for the verdict channel");
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s/modalias", dir, e->d_name);
		if (read_text(path, id, sizeof(id)) ||
		    strncmp(id, "pci:v00001B36d00000002", 22))
			continue;
		/* A distribution's kernel has a driver for it, which would use interrupts. */
		snprintf(path, sizeof(path), "%s/%s/driver/unbind", dir, e->d_name);
		write_text(path, e->d_name);
		snprintf(path, sizeof(path), "%s/%s/enable", dir, e->d_name);
		if (write_text(path, "1"))
			fatal("%s", path);
		snprintf(path, sizeof(path), "%s/%s/resource0", dir, e->d_name);
		uart = open(path, O_RDWR | O_CLOEXEC);
		if (uart < 0)
			fatal("%s", path);
		break;
	}
	closedir(d);
	errno = ENODEV;
	if (uart < 0)
		fatal("no pci-serial device for the verdict channel");
	uart_out(UART_IER, 0);
	uart_out(UART_LCR, LCR_8N1);
	uart_out(UART_FCR, FCR_ENABLE_CLR);
	uart_out(UART_MCR, MCR_DTR_RTS);
}

static void uart_write(const char *buf, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		/* An empty FIFO takes this many without a look at the state. */
		if (i % UART_FIFO_LEN == 0)
			while (!(uart_in(UART_LSR) & LSR_THRE))
				usleep(100);
		uart_out(UART_THR, buf[i]);
	}
}

__printf(1, 2)
static void report(const char *fmt, ...)
{
	char buf[LINE_MAX_LEN + 64];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (len >= (int)sizeof(buf))
		len = sizeof(buf) - 1;
	uart_write(buf, len);
}

/* The next byte from the host, or -1 once @deadline has passed. */
static int uart_getc(double deadline)
{
	int polls = 0;

	while (!(uart_in(UART_LSR) & LSR_DR)) {
		if (now() > deadline)
			return -1;
		/* Bytes come back to back, an answer may take its time. */
		if (++polls > 100)
			usleep(1000);
	}
	return uart_in(UART_RBR);
}

/*
 * Serve one request of the "host" command: pass the line on to the host and
 * its answer, "host STATUS LENGTH\n" and LENGTH bytes, back.
 */
static void serve_host(int listener, double deadline)
{
	char line[LINE_MAX_LEN];
	unsigned long left;
	size_t len = 0;
	int fd, c, status;
	ssize_t ret;

	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	while (len < sizeof(line) - 1) {
		ret = read(fd, line + len, sizeof(line) - 1 - len);
		if (ret <= 0)
			break;
		len += ret;
		if (line[len - 1] == '\n')
			break;
	}
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	report("host %s\n", line);

	len = 0;
	while ((c = uart_getc(deadline)) >= 0 && c != '\n')
		if (len < sizeof(line) - 1)
			line[len++] = c;
	line[len] = '\0';
	if (c < 0 || sscanf(line, "host %d %lu", &status, &left) != 2) {
		dprintf(fd, "124\nno answer from the host\n");
		close(fd);
		return;
	}
	dprintf(fd, "%d\n", status);
	while (left) {
		for (len = 0; len < sizeof(line) && len < left; len++) {
			c = uart_getc(deadline);
			if (c < 0)
				break;
			line[len] = c;
		}
		/* A requester that is gone must not block the channel. */
		if (len && send(fd, line, len, MSG_NOSIGNAL) < 0 && errno != EPIPE)
			perror(HOST_SOCKET);
		if (c < 0)
			break;
		left -= len;
	}
	close(fd);
}

/* The "host" command: ask the host for ACTION and wait for the answer. */
static int host_command(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = HOST_SOCKET };
	char buf[LINE_MAX_LEN] = "";
	int fd, i, status;
	size_t len = 0;
	FILE *f;

	if (argc < 2) {
		fprintf(stderr, "usage: host ACTION [ARGUMENT...]\n");
		return 2;
	}
	for (i = 1; i < argc; i++) {
		if (strchr(argv[i], '\n') ||
		    len + strlen(argv[i]) + 2 > sizeof(buf)) {
			fprintf(stderr, "host: argument %d: too long or with a newline\n", i);
			return 2;
		}
		len += sprintf(buf + len, "%s%s", i > 1 ? " " : "", argv[i]);
	}
	buf[len++] = '\n';
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    write(fd, buf, len) != (ssize_t)len) {
		perror("host: " HOST_SOCKET);
		return 125;
	}
	f = fdopen(fd, "r");
	if (!f || fscanf(f, "%d", &status) != 1 || fgetc(f) != '\n') {
		fprintf(stderr, "host: no answer\n");
		return 125;
	}
	while ((len = fread(buf, 1, sizeof(buf), f)))
		fwrite(buf, 1, len, stdout);
	return status;
}

/*
 * The time of a test: a hang is when nothing comes of it for @limit, and the end
 * is CEILING times that, whatever comes. Both are in seconds of the usual machine.
 */
struct patience {
	double limit, start, progress;
};

static double patience_end(const struct patience *p)
{
	double quiet = p->progress + p->limit * slow;
	double all = p->start + CEILING * p->limit * slow;

	return quiet < all ? quiet : all;
}

/* Is the test's time over, by the speed of now if not by that of before? */
static bool patience_lost(const struct patience *p)
{
	double before = slow;

	if (now() <= patience_end(p))
		return false;
	measure(0.5);
	if (slow < before)
		slow = before;
	if (now() > patience_end(p))
		return true;
	report("slow %.1f\n", slow);
	return false;
}

/* Has the kernel said anything? */
static bool kernel_talks(int log)
{
	char buf[2048];
	bool any = false;
	ssize_t ret;

	/* EPIPE: more than the log had room for. */
	while ((ret = read(log, buf, sizeof(buf))) > 0 || (ret < 0 && errno == EPIPE))
		any = true;
	return any;
}

/* Pass on the complete lines in @buf, each prefixed; returns what remains. */
static size_t pass_lines(char *buf, size_t len, bool all)
{
	char *line = buf, *end;

	while ((end = memchr(line, '\n', len - (line - buf)))) {
		report(": %.*s\n", (int)(end - line), line);
		line = end + 1;
	}
	len -= line - buf;
	if (len && (all || len == LINE_MAX_LEN)) {
		report(": %.*s\n", (int)len, line);
		return 0;
	}
	memmove(buf, line, len);
	return len;
}

static int listen_host(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = HOST_SOCKET };
	int fd;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(fd, 16))
		fatal(HOST_SOCKET);
	return fd;
}

/*
 * Wait for all children, which were killed, for so many SECONDS at most. A killed
 * process dies when it runs next, which may be a while on a machine that is busy.
 */
static bool reap_all(double seconds)
{
	double end = now() + seconds;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0) {
		if (pid > 0)
			continue;
		if (now() > end)
			return false;
		poll(NULL, 0, 10);
	}
	return true;
}

static void run_test(int listener, int log, const char *name, int timeout,
		     const char *command)
{
	static char buf[LINE_MAX_LEN];
	int out[2], status = 0, killed = 0;
	bool exited = false, eof = false;
	struct patience p;
	char times[16];
	size_t len = 0;
	ssize_t ret;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC))
		fatal("pipe");
	mark("begin %s", name);
	report("begin %s\n", name);
	measure(0.03);
	report("slow %.1f\n", slow);
	/* For waits within the test. */
	snprintf(times, sizeof(times), "%d", (int)(factor * slow + 0.99));
	kernel_talks(log);
	p.limit = timeout;
	p.start = now();
	p.progress = p.start;
	pid = fork();
	if (pid < 0)
		fatal("fork");
	if (!pid) {
		setsid();
		dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		setenv("TEST_NAME", name, 1);
		setenv("SLOW", times, 1);
		signal(SIGPIPE, SIG_DFL);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(out[1]);

	while (!exited || !eof) {
		struct pollfd fds[3] = {
			{ .fd = eof ? -1 : out[0], .events = POLLIN },
			{ .fd = listener, .events = POLLIN },
			{ .fd = log, .events = POLLIN },
		};

		poll(fds, 3, eof ? 2 : 50);
		if (fds[2].revents && kernel_talks(log))
			p.progress = now();
		if (fds[0].revents) {
			p.progress = now();
			ret = read(out[0], buf + len, sizeof(buf) - len);
			if (ret <= 0)
				eof = true;
			else
				len = pass_lines(buf, len + ret, false);
		}
		if (fds[1].revents) {
			p.progress = now();
			serve_host(listener, patience_end(&p));
			p.progress = now();
		}
		if (!exited && waitpid(pid, &status, WNOHANG) == pid) {
			exited = true;
			/*
			 * Nothing of a test may live on in the next one, nor
			 * hold its output open.
			 */
			kill(-1, SIGKILL);
		}
		if (!exited && !killed && patience_lost(&p)) {
			killed = 1;
			/* Have the kernel log where the test hangs. */
			write_text("/proc/sysrq-trigger", "w");
			kill(-1, SIGKILL);
		}
	}
	pass_lines(buf, len, true);
	close(out[0]);
	if (!reap_all(5 * slow))
		mark("a process of %s did not end", name);
	if (killed)
		report("end %s timeout\n", name);
	else if (WIFSIGNALED(status))
		report("end %s signal:%d\n", name, WTERMSIG(status));
	else
		report("end %s exit:%d\n", name, WEXITSTATUS(status));
	mark("end %s %.1f s", name, now() - p.start);
}

static void run_tests(void)
{
	char line[LINE_MAX_LEN], name[128];
	int listener, log, timeout, pos, n = 0;
	FILE *f;

	f = fopen(TESTS, "re");
	if (!f)
		fatal(TESTS);
	listener = listen_host();
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log >= 0)
		lseek(log, 0, SEEK_END);
	report("boot %.2f\n", now());
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%127s %d %n", name, &timeout, &pos) != 2)
			fatal("%s: malformed line: %s", TESTS, line);
		run_test(listener, log, name, timeout, line + pos);
		n++;
	}
	fclose(f);
	report("done %d\n", n);
	/* The power may go off at once. */
	while (!(uart_in(UART_LSR) & LSR_TEMT))
		usleep(100);
	mark("done");
}

/* A person's shell on the console, in place of the tests. */
static void run_shell(void)
{
	char active[64], path[80];
	const char *last;
	pid_t pid, gone;
	int fd;

	if (read_text("/sys/class/tty/console/active", active, sizeof(active)))
		fatal("no console");
	active[strcspn(active, "\n")] = '\0';
	last = strrchr(active, ' ');
	snprintf(path, sizeof(path), "/dev/%s", last ? last + 1 : active);
	pid = fork();
	if (pid < 0)
		fatal("fork");
	if (!pid) {
		setsid();
		fd = open(path, O_RDWR);
		if (fd < 0)
			_exit(1);
		ioctl(fd, TIOCSCTTY, 0);
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		if (!access("/etc/motd", R_OK))
			execl("/bin/sh", "sh", "-c", "cat /etc/motd; exec sh -l", NULL);
		execl("/bin/sh", "sh", "-l", NULL);
		_exit(127);
	}
	do {
		gone = wait(NULL);
	} while (gone != pid && (gone > 0 || errno == EINTR));
}

/* Links for every applet of the one busybox, so that #!/bin/sh works. */
static void install_busybox(void)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		fatal("fork");
	if (!pid) {
		execl("/bin/busybox", "busybox", "--install", "-s", "/bin", NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		fatal("busybox --install: status 0x%x", status);
}

static void mount_one(const char *type, const char *dir, bool must)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL) && must)
		fatal("mount %s on %s", type, dir);
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	char cmdline[4096], *at;

	if (!strcmp(base ? base + 1 : argv[0], "host"))
		return host_command(argc, argv);
	if (getpid() != 1) {
		fprintf(stderr, "init: only as PID 1\n");
		return 2;
	}

	signal(SIGPIPE, SIG_IGN);
	mount_one("devtmpfs", "/dev", true);
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	mount_one("proc", "/proc", true);
	mount_one("sysfs", "/sys", true);
	mount_one("tmpfs", "/tmp", true);
	mount_one("tmpfs", "/run", true);
	mount_one("debugfs", "/sys/kernel/debug", false);
	mount_one("tracefs", "/sys/kernel/tracing", false);
	setenv("PATH", "/bin:/sbin:/tests/qemu:/tests/dma-window", 1);
	setenv("HOME", "/", 1);
	setenv("TERM", "vt100", 0);
	install_busybox();
	if (chdir("/tmp"))
		fatal("/tmp");
	if (read_text("/proc/cmdline", cmdline, sizeof(cmdline)))
		fatal("/proc/cmdline");
	hardoff = strstr(cmdline, "guest.hardoff");
	icount = strstr(cmdline, "guest.icount");
	at = strstr(cmdline, "guest.factor=");
	if (at)
		factor = atoi(strchr(at, '=') + 1);
	if (strstr(cmdline, "guest.shell")) {
		run_shell();
	} else {
		uart_open();
		run_tests();
	}
	power_off();
}
