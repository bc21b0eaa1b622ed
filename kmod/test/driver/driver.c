// SPDX-License-Identifier: MIT OR Apache-2.0
/* A driver for QEMU's VGA function. Like any driver it requests the BARs. Its probe can take a while. */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/pci.h>

static int seconds;
module_param(seconds, int, 0444);
MODULE_PARM_DESC(seconds, "how many seconds the probe takes");

static int probe(struct pci_dev *dev, const struct pci_device_id *id)
{
	int error = pcim_enable_device(dev);

	if (!error)
		error = pci_request_regions(dev, "arena_test");
	if (!error)
		msleep(1000 * seconds);
	return error;
}

static void leave(struct pci_dev *dev)
{
	pci_release_regions(dev);
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1234, 0x1111) }, {} };
static struct pci_driver arena_test = { .name = "arena_test", .id_table = ids, .probe = probe, .remove = leave };
module_pci_driver(arena_test);
MODULE_DESCRIPTION("Test driver for pmem_arena");
MODULE_LICENSE("Dual MIT/GPL");
