// SPDX-License-Identifier: GPL-2.0-only
/*
 * Show frames on the first display of a DRM device, from a dumb buffer, each pixel
 * different from frame to frame. The last one stays until standard input ends.
 *
 * A helper of the tests here: what is to be seen is written to a PPM file when it is
 * there to be seen. Exits with 0 if all is well.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm/drm.h>
#include <drm/drm_mode.h>

#define BUFFERS	48

static int fd;

static void call(unsigned long request, void *arg, const char *what)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret && (errno == EINTR || errno == EAGAIN));
	if (!ret)
		return;
	perror(what);
	exit(1);
}

static uint32_t pixel(uint32_t x, uint32_t y, uint32_t frame)
{
	return ((x * 2654435761u) ^ (y * 40503u << 8) ^ (frame * 97u << 4)) & 0xffffff;
}

static void write_ppm(const char *path, uint32_t width, uint32_t height, uint32_t frame)
{
	uint32_t x, y, p;
	char temp[256];
	FILE *f;

	snprintf(temp, sizeof(temp), "%s.new", path);
	f = fopen(temp, "w");
	if (!f) {
		perror(temp);
		exit(1);
	}
	fprintf(f, "P6\n%u %u\n255\n", width, height);
	for (y = 0; y < height; y++) {
		for (x = 0; x < width; x++) {
			p = pixel(x, y, frame);
			putc(p >> 16, f);
			putc(p >> 8 & 0xff, f);
			putc(p & 0xff, f);
		}
	}
	if (fclose(f) || rename(temp, path)) {
		perror(path);
		exit(1);
	}
}

/*
 * Many commands at a time, which nobody waits for: more than a floor has room for.
 * A buffer that finds no room in the window is an error, and none of ours.
 */
static void make_and_drop(void)
{
	struct drm_mode_create_dumb dumb[BUFFERS] = {};
	struct drm_mode_destroy_dumb drop;
	unsigned int i;

	for (i = 0; i < BUFFERS; i++) {
		dumb[i] = (struct drm_mode_create_dumb) { .width = 32, .height = 32, .bpp = 32 };
		if (ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &dumb[i]))
			dumb[i].handle = 0;
	}
	for (i = 0; i < BUFFERS; i++) {
		drop.handle = dumb[i].handle;
		if (drop.handle)
			call(DRM_IOCTL_MODE_DESTROY_DUMB, &drop, "destroy");
	}
}

int main(int argc, char **argv)
{
	struct drm_mode_card_res res = {};
	struct drm_mode_get_connector conn = {};
	struct drm_mode_create_dumb dumb = { .bpp = 32 };
	struct drm_mode_map_dumb map = {};
	struct drm_mode_fb_cmd fb = { .depth = 24, .bpp = 32 };
	struct drm_mode_crtc crtc = { .mode_valid = 1 };
	struct drm_mode_fb_dirty_cmd dirty = {};
	struct drm_mode_modeinfo modes[64];
	uint32_t crtcs[16], connectors[16], encoders[16], frame, frames, x, y, tries, *line;
	uint8_t *mem;
	char c;

	if (argc != 4) {
		fprintf(stderr, "usage: screen CARD FRAMES FILE.ppm\n");
		return 2;
	}
	frames = strtoul(argv[2], NULL, 0);
	fd = open(argv[1], O_RDWR);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	res.crtc_id_ptr = (uintptr_t)crtcs;
	res.connector_id_ptr = (uintptr_t)connectors;
	res.encoder_id_ptr = (uintptr_t)encoders;
	res.count_crtcs = 16;
	res.count_connectors = 16;
	res.count_encoders = 16;
	call(DRM_IOCTL_MODE_GETRESOURCES, &res, "resources");
	if (!res.count_crtcs || !res.count_connectors) {
		fprintf(stderr, "%s: no display\n", argv[1]);
		return 1;
	}
	/* Asked without room for modes, the kernel finds out what there is. */
	conn.connector_id = connectors[0];
	call(DRM_IOCTL_MODE_GETCONNECTOR, &conn, "connector");
	if (!conn.count_modes || conn.count_modes > 64) {
		fprintf(stderr, "%s: %u modes\n", argv[1], conn.count_modes);
		return 1;
	}
	conn.modes_ptr = (uintptr_t)modes;
	conn.count_props = 0;
	conn.count_encoders = 0;
	call(DRM_IOCTL_MODE_GETCONNECTOR, &conn, "modes");

	dumb.width = modes[0].hdisplay;
	dumb.height = modes[0].vdisplay;
	/* The window may have no room for all of its pages right now. */
	for (tries = 0; ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &dumb); tries++) {
		if (errno != ENOMEM || tries > 5000) {
			perror("buffer");
			return 1;
		}
		usleep(1000);
	}
	fb.width = dumb.width;
	fb.height = dumb.height;
	fb.pitch = dumb.pitch;
	fb.handle = dumb.handle;
	call(DRM_IOCTL_MODE_ADDFB, &fb, "frame buffer");
	map.handle = dumb.handle;
	call(DRM_IOCTL_MODE_MAP_DUMB, &map, "mapping");
	mem = mmap(NULL, dumb.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, map.offset);
	if (mem == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	crtc.crtc_id = crtcs[0];
	crtc.fb_id = fb.fb_id;
	crtc.set_connectors_ptr = (uintptr_t)connectors;
	crtc.count_connectors = 1;
	crtc.mode = modes[0];
	call(DRM_IOCTL_MODE_SETCRTC, &crtc, "mode");
	dirty.fb_id = fb.fb_id;
	for (frame = 1; frame <= frames; frame++) {
		for (y = 0; y < dumb.height; y++) {
			line = (uint32_t *)(mem + (size_t)y * dumb.pitch);
			for (x = 0; x < dumb.width; x++)
				line[x] = pixel(x, y, frame);
		}
		make_and_drop();
		call(DRM_IOCTL_MODE_DIRTYFB, &dirty, "flush");
	}
	write_ppm(argv[3], dumb.width, dumb.height, frames);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
