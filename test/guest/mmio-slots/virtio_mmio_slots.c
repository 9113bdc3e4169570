// SPDX-License-Identifier: GPL-2.0
/*
 * What a kernel without CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES cannot do for itself: makes the platform devices that
 * virtio_mmio binds to. device=SIZE@ADDRESS:IRQ[,…] is what virtio_mmio.device= takes one by one.
 */
#include <linux/module.h>
#include <linux/platform_device.h>

#define MOST 16

static char *device[MOST];
static int count;
module_param_array(device, charp, &count, 0444);
static struct platform_device *slots[MOST];

static void remove_slots(void)
{
	while (count--)
		platform_device_unregister(slots[count]);
}

static int __init add_slots(void)
{
	int i, wanted = count;

	for (i = 0; i < wanted; i++) {
		unsigned int size, start, irq;
		struct resource resources[2] = {};

		count = i;
		if (sscanf(device[i], "%i@%i:%u", &size, &start, &irq) != 3) {
			pr_err("virtio_mmio_slots: %s is not SIZE@ADDRESS:IRQ\n", device[i]);
			remove_slots();
			return -EINVAL;
		}
		resources[0] = (struct resource)DEFINE_RES_MEM(start, size);
		resources[1] = (struct resource)DEFINE_RES_IRQ(irq);
		slots[i] = platform_device_register_simple("virtio-mmio", i, resources, 2);
		if (IS_ERR(slots[i])) {
			remove_slots();
			return PTR_ERR(slots[i]);
		}
	}
	count = wanted;
	return 0;
}
module_init(add_slots);
module_exit(remove_slots);
MODULE_LICENSE("GPL");
