// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: regions and what EFI keeps in memory.
 *
 * When the guest was booted by UEFI, memblock has what firmware said is memory,
 * and reserves what the kernel knows to be in use. Inside what a region itself
 * has reserved, both are lost: look at the memory map.
 *
 * Memory of boot services is the kernel's, and firmware that reads the tree may
 * have reserved the region as such. Some tables stay there: see
 * efi_mem_reserve().
 */

#include <linux/efi.h>
#include <linux/io.h>

#include "window.h"

/* Return what a range is to EFI, or NULL if all of it is the kernel's. */
static const char *efi_kept_as(const efi_memory_desc_t *md)
{
	if (md->attribute & EFI_MEMORY_RUNTIME)
		return "runtime services";

	switch (md->type) {
	case EFI_CONVENTIONAL_MEMORY:
	case EFI_BOOT_SERVICES_CODE:
	case EFI_BOOT_SERVICES_DATA:
		return NULL;
	case EFI_LOADER_CODE:
	case EFI_LOADER_DATA:
		/* The kernel, its initrd and tree, and data of the stub. */
		return "what the boot loader left";
	case EFI_RUNTIME_SERVICES_CODE:
	case EFI_RUNTIME_SERVICES_DATA:
		return "runtime services";
	case EFI_ACPI_RECLAIM_MEMORY:
	case EFI_ACPI_MEMORY_NVS:
		return "tables";
	default:
		return "reserved memory";
	}
}

/* Bytes of the table at @addr, by what its first @head bytes say, or 0. */
static u64 efi_table_bytes(unsigned long addr, size_t head,
			   u64 (*bytes_of)(const void *head))
{
	u64 bytes = 0;
	void *table;

	table = memremap(addr, head, MEMREMAP_WB);
	if (table) {
		bytes = bytes_of(table);
		memunmap(table);
	}
	return bytes;
}

static u64 efi_memattr_bytes(const void *head)
{
	const efi_memory_attributes_table_t *table = head;

	return sizeof(*table) + (u64)table->num_entries * table->desc_size;
}

/* The head of an efi_system_resource_table; an entry has 40 bytes. */
struct esrt_head {
	u32	count;
	u32	count_max;
	u64	version;
};

static u64 efi_esrt_bytes(const void *head)
{
	const struct esrt_head *table = head;

	return sizeof(*table) + 40ULL * table->count;
}

/* The last entry has no name and no data. */
static u64 efi_mokvar_bytes(void)
{
	struct efi_mokvar_table_entry *entry = NULL;
	u64 bytes = sizeof(*entry);

	while (efi_mokvar_entry_next(&entry))
		bytes += sizeof(*entry) + entry->data_size;
	return bytes;
}

/* Return where a table is in a range, or 0. */
static u64 efi_table_overlap(unsigned long addr, u64 bytes, u64 base, u64 end)
{
	return addr < end && addr + bytes > base ? max_t(u64, addr, base) : 0;
}

static u64 efi_tables_overlap(u64 base, u64 end)
{
	u64 at = 0;

	if (efi_mem_attr_table != EFI_INVALID_TABLE_ADDR)
		at = efi_table_overlap(efi_mem_attr_table,
				       efi_table_bytes(efi_mem_attr_table,
						       sizeof(efi_memory_attributes_table_t),
						       efi_memattr_bytes), base, end);
	if (!at && efi.esrt != EFI_INVALID_TABLE_ADDR)
		at = efi_table_overlap(efi.esrt,
				       efi_table_bytes(efi.esrt, sizeof(struct esrt_head),
						       efi_esrt_bytes), base, end);
	if (!at && efi.mokvar_table != EFI_INVALID_TABLE_ADDR)
		at = efi_table_overlap(efi.mokvar_table, efi_mokvar_bytes(),
				       base, end);
	return at;
}

/**
 * dma_window_efi_check() - does EFI keep something in a region?
 * @dev: the device that names the region, for messages
 * @ref: where @dev names the region
 * @base: the region's physical address, bytes
 * @size: the region's size, bytes
 *
 * Context: may sleep.
 *
 * Return: 0 if the guest was not booted by UEFI, or all of the region is the
 * kernel's; -EBUSY if not; -ENODEV if that cannot be told. The reason was
 * logged.
 */
int dma_window_efi_check(struct device *dev, const struct dma_window_ref *ref,
			 phys_addr_t base, phys_addr_t size)
{
	u64 addr, end = base + size;
	const char *kept = NULL;
	efi_memory_desc_t md;

	if (!efi_enabled(EFI_BOOT))
		return 0;
	if (!efi_enabled(EFI_MEMMAP)) {
		dma_window_err(dev, ref, "cannot be compared with EFI's memory map");
		return -ENODEV;
	}
	for (addr = base; addr < end;
	     addr = md.phys_addr + (md.num_pages << EFI_PAGE_SHIFT)) {
		kept = efi_mem_desc_lookup(addr, &md) ? "no memory of its map" :
							efi_kept_as(&md);
		if (kept)
			break;
	}
	if (!kept) {
		addr = efi_tables_overlap(base, end);
		if (!addr)
			return 0;
		kept = "tables";
	}
	dma_window_err(dev, ref, "overlaps memory that EFI keeps: %s at %#llx",
		       kept, addr);
	return -EBUSY;
}
