// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load a crash kernel, as "kexec -p -s" does: for the guest kdump.
 *
 * usage: kexec_crash IMAGE INITRD PARAMETERS
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kexec.h>

int main(int argc, char **argv)
{
	int image, initrd;

	if (argc != 4) {
		fprintf(stderr, "usage: kexec_crash IMAGE INITRD PARAMETERS\n");
		return 2;
	}
	image = open(argv[1], O_RDONLY);
	initrd = open(argv[2], O_RDONLY);
	if (image < 0 || initrd < 0) {
		perror("kexec_crash");
		return 1;
	}
	if (syscall(SYS_kexec_file_load, image, initrd, strlen(argv[3]) + 1,
		    argv[3], KEXEC_FILE_ON_CRASH)) {
		perror("kexec_file_load");
		return 1;
	}
	return 0;
}
