/* SPDX-License-Identifier: MIT */
/* Nodes, and the stock of those that are not some thread's own: see sync/node.h. */
#include "sync/node.h"

#include <errno.h>
#include <stdlib.h>

#include "os/atomic.h"

static FT__THREAD struct ft__waiter private_node;

struct spare {
	struct ft__waiter node; /* first: a name is its address */
	uint64_t next;          /* const once it is in the stock: address */
	uint32_t taken;         /* atomic */
};
static uint64_t stock; /* atomic: the newest's address; none ever leaves */

static struct spare *spare_at(uint64_t address)
{
	return (struct spare *)(uintptr_t)address;
}

static bool idle(const struct ft__waiter *node)
{
	/* Only this thread makes it wait, and ends that. */
	return ft__load64_relaxed(&node->condition) == 0;
}

static struct spare *spare_new(void)
{
	struct spare *spare = calloc(1, sizeof(*spare));

	if (!spare)
		return NULL;
	spare->taken = 1;
	spare->next = ft__load64_relaxed(&stock);
	/* Seq_cst, so release: pairs with the load of who looks for one. */
	while (!ft__cas64_seq_cst(&stock, &spare->next, (uintptr_t)spare))
		;
	return spare;
}

static struct spare *spare_take(void)
{
	/* Acquire: pairs with the CAS of who added it. */
	struct spare *spare = spare_at(ft__load64_acquire(&stock));

	for (; spare; spare = spare_at(spare->next)) {
		uint32_t free = 0;

		/* Acquire: pairs with the store of who gave it. */
		if (ft__cas32_acquire(&spare->taken, &free, 1))
			return spare;
	}
	return spare_new();
}

int ft__node_take(struct ft__self *self, uint64_t *name)
{
	struct spare *spare;

	if (self) {
		*name = idle(&self->slot->waiter) ? self->owner : ft__slot_more(self);
		return *name ? 0 : -EAGAIN;
	}
	if (idle(&private_node)) {
		*name = (uintptr_t)&private_node;
		return 0;
	}
	spare = spare_take();
	*name = (uintptr_t)spare;
	return spare ? 0 : -ENOMEM;
}

void ft__node_give(struct ft__self *self, uint64_t name)
{
	if (self && name != self->owner)
		ft__slot_less(self, (uint32_t)name);
	else if (!self && name != (uintptr_t)&private_node)
		/* Release: pairs with the CAS of who takes it next. */
		ft__store32_release(&spare_at(name)->taken, 0);
}

struct ft__waiter *ft__node_named(bool is_shared, uint64_t name)
{
	struct ft__slot *slot;

	if (!is_shared)
		return (struct ft__waiter *)(uintptr_t)name;
	slot = name <= UINT32_MAX ? ft__slot_of((uint32_t)name) : NULL;
	return slot ? &slot->waiter : NULL;
}
