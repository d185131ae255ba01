// SPDX-License-Identifier: GPL-2.0-only
/*
 * zeroboot guest devices: the doorbell and the mailbox that a guest shares with its host.
 *
 * /dev/zeroboot		mmap() only: the doorbell page at offset 0, the mailbox behind it
 * /dev/zeroboot-stdout	what is written becomes output records in the mailbox's
 * /dev/zeroboot-stderr	console area; reading gives end-of-file
 * /proc/zeroboot/instance-id	the name of this clone, 32 hexadecimal digits
 * /proc/zeroboot/hosts	an /etc/hosts with this clone's host name
 *
 * The guest-physical addresses come from the command line: zeroboot.doorbell=, zeroboot.mailbox=.
 * The wire format is that of guest/proto.
 *
 * Root can map the mailbox, so any word in it may change at any time. The driver therefore reads
 * console_used once for each record, and bounds it, before it serves as an offset. The word in
 * the mailbox is the truth, there is no private copy: the host sets it to 0 while the guest is
 * stopped, and a copy would then bring old records back. A wrong value can only lose or garble
 * console output, which whoever can write the mailbox can do anyway.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/utsname.h>
#include <linux/zeroboot.h>

/* The same numbers as in guest/proto/src/lib.rs; a test of zeroboot's compares them. */
#define ZB_DOORBELL_SIZE 0x1000
#define ZB_MAILBOX_SIZE 0x100000
#define ZB_CONSOLE_START 0xc0000
#define ZB_HEADER_CONSOLE_USED 28
#define ZB_HEADER_SEQUENCE 32
#define ZB_RECORD_HEADER 8
#define ZB_RECORD_ALIGN 8
#define ZB_EVENT_CONSOLE 4
#define ZB_STREAM_STDOUT 1
#define ZB_STREAM_STDERR 2
#define ZB_CLONE_FIELDS_START 0xff000
#define ZB_CLONE_FIELDS_MAX 64
#define ZB_CLONE_FIELD_SIZE 16
#define ZB_CLONE_SECRET 1
#define ZB_CLONE_GENERATION 2
#define ZB_CLONE_BOOT_ID 3
#define ZB_CLONE_INSTANCE_ID 4
#define ZB_CLONE_HOST_NAME 5
#define ZB_CLONE_TSC 6
#define ZB_CLONE_SECONDS 7
#define ZB_CLONE_NANOSECONDS 8
#define ZB_CLONE_CYC2NS 9

#define ZB_CONSOLE_SIZE (ZB_CLONE_FIELDS_START - ZB_CONSOLE_START)

static ulong doorbell_gpa;
module_param_named(doorbell, doorbell_gpa, ulong, 0);
MODULE_PARM_DESC(doorbell, "guest-physical address of the doorbell page");

static ulong mailbox_gpa;
module_param_named(mailbox, mailbox_gpa, ulong, 0);
MODULE_PARM_DESC(mailbox, "guest-physical address of the mailbox");

static void __iomem *doorbell;
static u8 *mailbox;
static DEFINE_MUTEX(console_lock);	/* the console area, its records and console_used */

static_assert(ZB_DOORBELL_SIZE == PAGE_SIZE);
static_assert(sizeof(atomic_t) == sizeof(u32));
static_assert(ZB_CLONE_SECRET == ZEROBOOT_CLONE_SECRET);
static_assert(ZB_CLONE_GENERATION == ZEROBOOT_CLONE_GENERATION);
static_assert(ZB_CLONE_BOOT_ID == ZEROBOOT_CLONE_BOOT_ID);
static_assert(ZB_CLONE_INSTANCE_ID == ZEROBOOT_CLONE_INSTANCE_ID);
static_assert(ZB_CLONE_HOST_NAME == ZEROBOOT_CLONE_HOST_NAME);
static_assert(ZB_CLONE_TSC == ZEROBOOT_CLONE_TSC);
static_assert(ZB_CLONE_SECONDS == ZEROBOOT_CLONE_SECONDS);
static_assert(ZB_CLONE_NANOSECONDS == ZEROBOOT_CLONE_NANOSECONDS);
static_assert(ZB_CLONE_CYC2NS == ZEROBOOT_CLONE_CYC2NS);

static u32 *mailbox_word(u32 offset)
{
	return (u32 *)(mailbox + offset);
}

/* Bytes of records in the console area, whatever the mailbox says: aligned and within the area. */
static u32 console_used(void)
{
	u32 used = READ_ONCE(*mailbox_word(ZB_HEADER_CONSOLE_USED));

	return round_down(min_t(u32, used, ZB_CONSOLE_SIZE), ZB_RECORD_ALIGN);
}

static void publish_console_used(u32 used)
{
	/* The host may look at every exit, so the record comes first. */
	smp_store_release(mailbox_word(ZB_HEADER_CONSOLE_USED), used);
}

/*
 * Append one record with as much of the iterator as fits, and return how much that was; 0 means
 * that the host has to empty the area first, -EFAULT that nothing could be read.
 */
static ssize_t append_record(u32 stream, struct iov_iter *from)
{
	u32 used = console_used();
	u8 *record = mailbox + ZB_CONSOLE_START + used;
	u32 room = ZB_CONSOLE_SIZE - used;
	u32 len;

	/* A short write is one record: better an early doorbell than a torn line. */
	len = min_t(size_t, iov_iter_count(from), ZB_CONSOLE_SIZE - ZB_RECORD_HEADER);
	if (room < ZB_RECORD_HEADER + len)
		return 0;

	len = copy_from_iter(record + ZB_RECORD_HEADER, len, from);
	if (!len)
		return -EFAULT;

	/* User space numbers its own records from the same counter. */
	((u32 *)record)[0] = atomic_fetch_inc((atomic_t *)mailbox_word(ZB_HEADER_SEQUENCE));
	((u32 *)record)[1] = stream << 24 | len;
	publish_console_used(used + round_up(ZB_RECORD_HEADER + len, ZB_RECORD_ALIGN));
	return len;
}

static ssize_t write_records(u32 stream, struct iov_iter *from)
{
	ssize_t done = 0;

	while (iov_iter_count(from)) {
		ssize_t n;

		if (done && fatal_signal_pending(current))
			break;
		if (mutex_lock_killable(&console_lock))
			return done ?: -EINTR;
		n = append_record(stream, from);
		if (!n) {
			/* The store leaves the guest; behind it the host has read the area. */
			writel(ZB_EVENT_CONSOLE, doorbell);
			publish_console_used(0);
		}
		mutex_unlock(&console_lock);

		if (n < 0)
			return done ?: n;
		done += n;
		cond_resched();
	}
	return done;
}

static ssize_t stdout_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	return write_records(ZB_STREAM_STDOUT, from);
}

static ssize_t stderr_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	return write_records(ZB_STREAM_STDERR, from);
}

static ssize_t stream_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	return 0;
}

static __poll_t stream_poll(struct file *file, poll_table *wait)
{
	return EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;
}

static int zeroboot_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long start = vma->vm_pgoff;
	unsigned long pages = vma_pages(vma);
	unsigned long pfn;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;

	if (start == 0) {
		if (pages != 1)
			return -EINVAL;
		pfn = PHYS_PFN(doorbell_gpa);
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	} else {
		start -= 1;
		if (start >= PHYS_PFN(ZB_MAILBOX_SIZE) || pages > PHYS_PFN(ZB_MAILBOX_SIZE) - start)
			return -EINVAL;
		pfn = PHYS_PFN(mailbox_gpa) + start;
	}

	vm_flags_set(vma, VM_DONTDUMP);
	return remap_pfn_range(vma, vma->vm_start, pfn, pages << PAGE_SHIFT, vma->vm_page_prot);
}

static const struct file_operations zeroboot_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.mmap = zeroboot_mmap,
};

static const struct file_operations stdout_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.read_iter = stream_read_iter,
	.write_iter = stdout_write_iter,
	.splice_write = iter_file_splice_write,
	.poll = stream_poll,
};

static const struct file_operations stderr_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.read_iter = stream_read_iter,
	.write_iter = stderr_write_iter,
	.splice_write = iter_file_splice_write,
	.poll = stream_poll,
};

static struct miscdevice devices[] = {
	{
		.minor = MISC_DYNAMIC_MINOR,
		.name = "zeroboot",
		.fops = &zeroboot_fops,
		.mode = 0600,
	},
	{
		.minor = MISC_DYNAMIC_MINOR,
		.name = "zeroboot-stdout",
		.fops = &stdout_fops,
		.mode = 0666,
	},
	{
		.minor = MISC_DYNAMIC_MINOR,
		.name = "zeroboot-stderr",
		.fops = &stderr_fops,
		.mode = 0666,
	},
};

/* --- what clones must not share ----------------------------------------------------------- */

/* Written by the host. Volatile: the compiler sees nobody write it. */
static volatile u8 instance_id[16];

static const struct zeroboot_clone_field clone_names[] = {
	ZEROBOOT_CLONE(INSTANCE_ID, instance_id),
	ZEROBOOT_CLONE(HOST_NAME, init_uts_ns.name.nodename),
	ZEROBOOT_CLONE_END
};

static const struct zeroboot_clone_field *const clone_lists[] = {
	clone_names,
	zeroboot_clone_random,
	zeroboot_clone_timekeeping,
	zeroboot_clone_sched_clock,
};

/* Tells the host: a count in eight bytes, then for each field its address, length and kind. */
static void __init publish_clone_fields(void)
{
	u8 *record = mailbox + ZB_CLONE_FIELDS_START + sizeof(u64);
	const struct zeroboot_clone_field *field;
	u64 count = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(clone_lists); i++) {
		for (field = clone_lists[i]; field->at; field++) {
			if (WARN_ON(count == ZB_CLONE_FIELDS_MAX))
				return;		/* with no count there are no clones */
			((u64 *)record)[0] = __pa_symbol(field->at);
			((u32 *)record)[2] = field->len;
			((u32 *)record)[3] = field->kind;
			record += ZB_CLONE_FIELD_SIZE;
			count++;
		}
	}
	*(u64 *)(mailbox + ZB_CLONE_FIELDS_START) = count;
}

static int instance_id_show(struct seq_file *file, void *unused)
{
	u8 id[sizeof(instance_id)];
	int i;

	for (i = 0; i < sizeof(id); i++)
		id[i] = instance_id[i];
	seq_printf(file, "%*phN\n", (int)sizeof(id), id);
	return 0;
}

static int hosts_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "127.0.0.1\tlocalhost %s\n::1\tlocalhost\n", utsname()->nodename);
	return 0;
}

static int __init make_clone_files(void)
{
	struct proc_dir_entry *dir = proc_mkdir("zeroboot", NULL);

	if (!dir || !proc_create_single("instance-id", 0444, dir, instance_id_show) ||
	    !proc_create_single("hosts", 0444, dir, hosts_show))
		return -ENOMEM;
	return 0;
}

static int __init zeroboot_init(void)
{
	int err = -ENOMEM;
	int i;

	if (!doorbell_gpa || !mailbox_gpa)
		return 0;	/* not a zeroboot machine */
	if (!PAGE_ALIGNED(doorbell_gpa) || !PAGE_ALIGNED(mailbox_gpa)) {
		pr_err("doorbell %#lx, mailbox %#lx: not page-aligned\n", doorbell_gpa, mailbox_gpa);
		return -EINVAL;
	}

	doorbell = ioremap(doorbell_gpa, ZB_DOORBELL_SIZE);
	if (!doorbell)
		goto err_doorbell;
	mailbox = memremap(mailbox_gpa, ZB_MAILBOX_SIZE, MEMREMAP_WB);
	if (!mailbox)
		goto err_mailbox;

	for (i = 0; i < ARRAY_SIZE(devices); i++) {
		err = misc_register(&devices[i]);
		if (err)
			goto err_devices;
	}
	err = make_clone_files();
	if (err)
		goto err_devices;
	publish_clone_fields();
	return 0;

err_devices:
	while (i--)
		misc_deregister(&devices[i]);
	memunmap(mailbox);
err_mailbox:
	iounmap(doorbell);
err_doorbell:
	pr_err("doorbell %#lx, mailbox %#lx: error %d\n", doorbell_gpa, mailbox_gpa, err);
	return err;
}
device_initcall(zeroboot_init);
