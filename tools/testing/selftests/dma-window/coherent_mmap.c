// SPDX-License-Identifier: GPL-2.0-only
/*
 * A coherent buffer of a device with a window, mapped to user space: it is the
 * window's memory, and no more than the buffer can be mapped (I1). Needs the
 * module dma_window_test.
 */

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#define SIZE	65536

FIXTURE(shared)
{
	int fd;
};

FIXTURE_SETUP(shared)
{
	self->fd = open("/dev/dma-window-test", O_RDWR | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "no /dev/dma-window-test: module not loaded");
}

FIXTURE_TEARDOWN(shared)
{
	close(self->fd);
}

TEST_F(shared, same_memory)
{
	static unsigned char kernel[SIZE];
	unsigned char *map;
	int i;

	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	for (i = 0; i < SIZE; i++)
		map[i] = i * 7 ^ i >> 8;
	ASSERT_EQ(SIZE, pread(self->fd, kernel, SIZE, 0));
	EXPECT_EQ(0, memcmp(map, kernel, SIZE));
	EXPECT_EQ(0, munmap(map, SIZE));
}

TEST_F(shared, a_part)
{
	unsigned char *map, byte;

	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, SIZE - 4096);
	ASSERT_NE(MAP_FAILED, map);
	map[4095] = 0x77;
	ASSERT_EQ(1, pread(self->fd, &byte, 1, SIZE - 1));
	EXPECT_EQ(0x77, byte);
	EXPECT_EQ(0, munmap(map, 4096));
}

TEST_F(shared, no_more_than_the_buffer)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * SIZE, PROT_READ, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 8192, PROT_READ, MAP_SHARED, self->fd, SIZE - 4096));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, self->fd, SIZE));
}

TEST_HARNESS_MAIN
