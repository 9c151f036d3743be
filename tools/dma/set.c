// SPDX-License-Identifier: GPL-2.0-only
/* set copybreak DEV BYTES */

#include <errno.h>
#include <string.h>

#include "tool.h"

static void set_copybreak(const char *name, const char *text)
{
	struct device d = { .window = -1 };
	uint64_t value, before, after = 0;
	char path[1200], number[24];
	int err;

	if (!parse_size(text, &value))
		die(EXIT_USAGE, "\"%s\" is no size: bytes, or a number with K, M or G, or "
		    "\"all\"",
		    text);
	if (value > UINT32_MAX)
		die(EXIT_USAGE, "%s is too large: at most %u, which is \"all\"", text, UINT32_MAX);
	if (!*name || strchr(name, '/'))
		die(EXIT_USAGE, "\"%s\" is no name of a device, like 0000:00:02.0", name);
	device_look(&d, name);
	if (!d.path[0])
		die(EXIT_CANNOT, "there is no device %s on the buses pci, platform, virtio "
		    "and amba",
		    name);
	if (!d.has_copybreak)
		die(EXIT_CANNOT, "%s has no copybreak: %s", name,
		    d.iommu ? "it is behind an IOMMU, but has no window" :
			      "it is not behind an IOMMU, so all is copied, or nothing");
	before = d.copybreak;
	snprintf(path, sizeof(path), "%s/dma_window/copybreak", d.path);
	snprintf(number, sizeof(number), "%llu\n", (unsigned long long)value);
	err = write_text(path, number);
	if (err == -EACCES || err == -EPERM)
		die(EXIT_CANNOT, "only root may set the copybreak of %s", name);
	if (err)
		die(EXIT_CANNOT, "%s: copybreak %s: %s", name, text, strerror(-err));
	err = read_number(path, &after);
	if (err || after != value)
		die(EXIT_BAD, "%s: copybreak is %llu after %llu was written", name,
		    (unsigned long long)after, (unsigned long long)value);
	if (opt.json) {
		json_open(NULL, '{');
		json_text("device", name);
		json_number("before", before);
		json_number("copybreak", after);
		json_close('}');
		json_end();
	} else {
		printf("%s: copybreak %llu, was %llu\n", name, (unsigned long long)after,
		       (unsigned long long)before);
	}
}

int verb_set(int argc, char **argv)
{
	if (argc != 3 || strcmp(argv[0], "copybreak"))
		die(EXIT_USAGE, "what can be set: dma-window set copybreak DEVICE BYTES");
	set_copybreak(argv[1], argv[2]);
	return EXIT_FINE;
}
