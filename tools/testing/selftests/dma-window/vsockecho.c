// SPDX-License-Identifier: GPL-2.0-only
/*
 * Send data over several vsock connections at once to a host that sends it back, and
 * compare every byte: content is a function of position and connection.
 *
 * A helper of the tests here; prints one line, exits with 0 if all is well.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define CHUNK	65536
#define MOST	16

struct connection {
	int fd;
	size_t sent;
	size_t received;
};

static struct connection conns[MOST];
static struct pollfd fds[MOST];

static unsigned char content(size_t pos, unsigned int conn)
{
	return (pos * 151 + (pos >> 8) * 31 + (pos >> 16) * 7 + conn * 83) >> 1;
}

static int transmit(unsigned int n, size_t total)
{
	struct connection *c = &conns[n];
	unsigned char buf[CHUNK];
	size_t len = total - c->sent, i;
	ssize_t ret;

	if (len > sizeof(buf))
		len = sizeof(buf);
	for (i = 0; i < len; i++)
		buf[i] = content(c->sent + i, n);
	ret = send(c->fd, buf, len, MSG_NOSIGNAL);
	if (ret < 0) {
		if (errno == EAGAIN)
			return 0;
		perror("send");
		return -1;
	}
	c->sent += ret;
	return 0;
}

static int receive(unsigned int n)
{
	struct connection *c = &conns[n];
	unsigned char buf[CHUNK];
	ssize_t ret, i;

	ret = recv(c->fd, buf, sizeof(buf), 0);
	if (ret <= 0) {
		if (ret < 0 && errno == EAGAIN)
			return 0;
		printf("connection %u: %s after %zu bytes\n", n,
		       ret ? "an error" : "closed", c->received);
		return -1;
	}
	for (i = 0; i < ret; i++) {
		if (buf[i] != content(c->received + i, n)) {
			printf("connection %u: byte %zu is %#x, should be %#x\n", n,
			       c->received + i, buf[i],
			       content(c->received + i, n));
			return -1;
		}
	}
	c->received += ret;
	if (c->received <= c->sent)
		return 0;
	printf("connection %u: %zu bytes came back of %zu\n", n, c->received, c->sent);
	return -1;
}

int main(int argc, char **argv)
{
	struct sockaddr_vm addr = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST };
	size_t total, left = 0;
	unsigned int i, n;

	if (argc != 3) {
		fprintf(stderr, "usage: vsockecho CONNECTIONS BYTES\n");
		return 2;
	}
	n = strtoul(argv[1], NULL, 0);
	total = strtoul(argv[2], NULL, 0);
	if (!n || n > MOST || !total) {
		fprintf(stderr, "vsockecho: 1 to %u connections, some bytes\n", MOST);
		return 2;
	}
	for (i = 0; i < n; i++) {
		addr.svm_port = 1000 + i;
		conns[i].fd = socket(AF_VSOCK, SOCK_STREAM, 0);
		if (conns[i].fd < 0 ||
		    connect(conns[i].fd, (void *)&addr, sizeof(addr)) ||
		    fcntl(conns[i].fd, F_SETFL, O_NONBLOCK)) {
			perror("vsock");
			return 1;
		}
		fds[i].fd = conns[i].fd;
		left += total;
	}
	while (left) {
		left = 0;
		for (i = 0; i < n; i++) {
			fds[i].events = conns[i].received < total ? POLLIN : 0;
			if (conns[i].sent < total)
				fds[i].events |= POLLOUT;
			left += total - conns[i].received;
		}
		if (left && poll(fds, n, -1) < 0) {
			perror("poll");
			return 1;
		}
		for (i = 0; left && i < n; i++) {
			if ((fds[i].revents & POLLOUT) && conns[i].sent < total &&
			    transmit(i, total))
				return 1;
			if ((fds[i].revents & ~POLLOUT) && receive(i))
				return 1;
		}
	}
	for (i = 0; i < n; i++)
		close(conns[i].fd);
	printf("%u connections, %zu bytes each way\n", n, total);
	return 0;
}
