// SPDX-License-Identifier: GPL-2.0-only
/*
 * Encrypt and decrypt on a virtio-crypto device, in several processes at once, and
 * compare every byte with what the kernel's own AES makes of it.
 *
 * A helper of the tests here; prints one line, exits with 0 if all is well.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/if_alg.h>

#define KEY	16
#define MOST	65536

/* The device's and the kernel's. cts() has parts of a list encrypted. */
static const char * const drivers[][2] = {
	{ "virtio_crypto_aes_cbc", "cbc(aes-generic)" },
	{ "cts(virtio_crypto_aes_cbc)", "cts(cbc(aes-generic))" },
};

/* Open an operation of @driver; the transform stays open with it. */
static int cipher_open(const char *driver, const uint8_t *key)
{
	struct sockaddr_alg addr = { .salg_family = AF_ALG, .salg_type = "skcipher" };
	int tfm, op = -1;

	snprintf((char *)addr.salg_name, sizeof(addr.salg_name), "%s", driver);
	tfm = socket(AF_ALG, SOCK_SEQPACKET, 0);
	if (tfm < 0 || bind(tfm, (struct sockaddr *)&addr, sizeof(addr)) ||
	    setsockopt(tfm, SOL_ALG, ALG_SET_KEY, key, KEY)) {
		perror(driver);
		return -1;
	}
	op = accept(tfm, NULL, 0);
	if (op < 0)
		perror(driver);
	close(tfm);
	return op;
}

static int cipher_run(int op, uint32_t what, const uint8_t *iv, uint8_t *in,
		      uint8_t *out, size_t len)
{
	char control[CMSG_SPACE(sizeof(what)) +
		     CMSG_SPACE(sizeof(struct af_alg_iv) + KEY)] = {};
	struct iovec iov = { .iov_base = in, .iov_len = len };
	struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control),
			      .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	struct af_alg_iv *alg_iv;
	ssize_t ret;

	cmsg->cmsg_level = SOL_ALG;
	cmsg->cmsg_type = ALG_SET_OP;
	cmsg->cmsg_len = CMSG_LEN(sizeof(what));
	memcpy(CMSG_DATA(cmsg), &what, sizeof(what));
	cmsg = CMSG_NXTHDR(&msg, cmsg);
	cmsg->cmsg_level = SOL_ALG;
	cmsg->cmsg_type = ALG_SET_IV;
	cmsg->cmsg_len = CMSG_LEN(sizeof(*alg_iv) + KEY);
	alg_iv = (struct af_alg_iv *)CMSG_DATA(cmsg);
	alg_iv->ivlen = KEY;
	memcpy(alg_iv->iv, iv, KEY);
	if (sendmsg(op, &msg, 0) != (ssize_t)len) {
		perror("sendmsg");
		return -1;
	}
	ret = read(op, out, len);
	if (ret == (ssize_t)len)
		return 0;
	if (ret < 0)
		perror("read");
	else
		printf("%zd bytes of %zu\n", ret, len);
	return -1;
}

static int one(unsigned int number, unsigned int rounds)
{
	static uint8_t plain[MOST], expected[MOST], coded[MOST], back[MOST];
	uint8_t key[KEY], iv[KEY];
	int device, kernel, ret = 1;
	unsigned int round;
	size_t len, i;

	for (i = 0; i < KEY; i++) {
		key[i] = number * 29 + i * 7;
		iv[i] = number + i * 13;
	}
	/* Every other process with cts(). */
	device = cipher_open(drivers[number % 2][0], key);
	kernel = cipher_open(drivers[number % 2][1], key);
	if (kernel < 0 || device < 0)
		return 1;
	for (round = 0; round < rounds; round++) {
		/* Whole blocks, up to MOST, ever different; with cts() parts as well. */
		len = ((round + number) * 7919 % (MOST / KEY) + 1) * KEY;
		if (number % 2 && len > KEY)
			len -= 1 + round % (KEY - 1);
		for (i = 0; i < len; i++)
			plain[i] = (i * 151 + (i >> 8) * 31 + round * 17 + number) >> 1;
		if (cipher_run(kernel, ALG_OP_ENCRYPT, iv, plain, expected, len) ||
		    cipher_run(device, ALG_OP_ENCRYPT, iv, plain, coded, len) ||
		    cipher_run(device, ALG_OP_DECRYPT, iv, coded, back, len))
			goto out;
		if (memcmp(coded, expected, len) || memcmp(back, plain, len)) {
			printf("process %u, round %u: %s of %zu bytes is wrong\n", number,
			       round, memcmp(coded, expected, len) ? "code" : "text",
			       len);
			goto out;
		}
	}
	ret = 0;
out:
	close(device);
	close(kernel);
	return ret;
}

int main(int argc, char **argv)
{
	unsigned int processes, rounds, i;
	int status, bad = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: cipher PROCESSES ROUNDS\n");
		return 2;
	}
	processes = strtoul(argv[1], NULL, 0);
	rounds = strtoul(argv[2], NULL, 0);
	if (!processes || !rounds) {
		fprintf(stderr, "cipher: one process and one round at least\n");
		return 2;
	}
	for (i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (!pid)
			exit(one(i, rounds));
		bad |= pid < 0;
	}
	while (wait(&status) > 0)
		bad |= status;
	if (!bad)
		printf("%u processes, %u rounds\n", processes, rounds);
	return !!bad;
}
