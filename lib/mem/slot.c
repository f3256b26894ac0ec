/* SPDX-License-Identifier: MIT */
/* Registration of threads and processes. */
#include "mem/slot.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/cache.h"
#include "os/atomic.h"

FT__THREAD struct ft__self ft__self_tls;
void (*ft__slot_leaving)(uint32_t owner);

static FT__PROCESS uint32_t process_owner; /* atomic, private; 0: not registered yet */
static uint32_t next_index;    /* atomic, private: where to look for a free slot */

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

/* Both words of a slot's head as one, whatever the byte order. */
static uint64_t head(uint32_t word, uint32_t process)
{
	struct ft__slot slot = { .word = word, .process = process };

	return slot.head;
}

static uint32_t word_of(uint64_t both)
{
	struct ft__slot slot = { .head = both };

	return slot.word;
}

static uint32_t process_of(uint64_t both)
{
	struct ft__slot slot = { .head = both };

	return slot.process;
}

static uint32_t slots_high(void)
{
	/* Acquire: pairs with raise_high; scribbled values do no harm. */
	uint32_t high = ft__load32_acquire(&ft__arena.header->slots_high);

	return high < FT__SLOTS ? high : FT__SLOTS;
}

struct ft__slot *ft__slot_of(uint32_t owner)
{
	if (!owner || !FT__LOAD_POINTER(&ft__arena.base)) /* pairs with publish() */
		return NULL;
	return &ft__arena.slot[owner & FT__SLOT_INDEX];
}

/* The owner id that a slot's word says is there; 0 for none. */
static uint32_t owner_in(uint32_t index, uint32_t word)
{
	if ((word & FT__SLOT_STATE) == FT__SLOT_FREE)
		return 0;
	return index | (word & FT__SLOT_GENERATION);
}

bool ft__slot_alive(uint32_t owner)
{
	struct ft__slot *slot = ft__slot_of(owner);

	/* Acquire: pairs with the CAS that frees; what the dead did is settled. */
	return slot && owner_in(owner & FT__SLOT_INDEX, ft__load32_acquire(&slot->word)) == owner;
}

static uint32_t next_generation(uint32_t word)
{
	uint32_t generation = ((word & FT__SLOT_GENERATION) + FT__SLOT_INDEX + 1) &
			      FT__SLOT_GENERATION;

	return generation ? generation : FT__SLOT_INDEX + 1;
}

/* Takes the slot if it is free.  `process` 0: the slot's own id. */
static uint32_t take(uint32_t index, uint32_t process)
{
	struct ft__slot *slot = &ft__arena.slot[index];
	uint64_t seen = ft__load64_acquire(&slot->head); /* pairs with ft__slot_free */

	if ((word_of(seen) & FT__SLOT_STATE) != FT__SLOT_FREE)
		return 0;

	uint32_t generation = next_generation(word_of(seen));
	uint32_t owner = index | generation;
	uint64_t taken = head(generation | FT__SLOT_RESERVED, process ? process : owner);

	return ft__cas64_acquire(&slot->head, &seen, taken) ? owner : 0;
}

static uint32_t take_between(uint32_t from, uint32_t to, uint32_t process)
{
	for (uint32_t i = from; i < to; i++) {
		uint32_t owner = take(i, process);

		if (owner)
			return owner;
	}
	return 0;
}

/* The slots never used before: raised before the slot is taken, so that whoever
 * looks through the used ones misses none. */
static uint32_t take_new(uint32_t process)
{
	uint32_t owner = 0;

	for (uint32_t high = slots_high(); !owner && high < FT__SLOTS; high = slots_high()) {
		uint32_t seen = high;

		ft__cas32_seq_cst(&ft__arena.header->slots_high, &seen, high + 1);
		owner = take(high, process);
	}
	return owner;
}

static uint32_t take_used(uint32_t process)
{
	uint32_t high = slots_high(), from = ft__load32_relaxed(&next_index);

	if (from > high)
		from = 0;

	uint32_t owner = take_between(from, high, process);

	return owner ? owner : take_between(0, from, process);
}

/* How many used slots are free: only a hint, which spares a search in vain.  A
 * death may leave it too low; then the slot waits until there are no new ones. */
static void count_free(uint32_t more)
{
	uint32_t *count = &ft__arena.header->slots_free, seen = ft__load32_relaxed(count);

	while ((more == 1 || seen) && !ft__cas32_seq_cst(count, &seen, seen + more))
		;
}

/* Used slots first, in turn, so that generations come round late. */
static uint32_t take_any(uint32_t process)
{
	bool some = ft__load32_relaxed(&ft__arena.header->slots_free);
	uint32_t owner = some ? take_used(process) : 0;

	if (owner)
		count_free(UINT32_MAX);
	else
		owner = take_new(process);
	if (!owner)
		owner = take_used(process);
	if (owner)
		ft__store32_relaxed(&next_index, (owner & FT__SLOT_INDEX) + 1);
	return owner;
}

static void fill(struct ft__slot *slot, pid_t pid, pid_t tid, const char *name)
{
	slot->pid = pid;
	slot->tid = tid;
	slot->noted = 0;
	ft__store32_relaxed(&slot->gone, 0);
	ft__store32_relaxed(&slot->left, 0);
	ft__store32_relaxed(&slot->mail, 0);
	ft__store64_relaxed(&slot->joining, 0);
	memset(slot->name, 0, sizeof(slot->name));
	memcpy(slot->name, name, strnlen(name, sizeof(slot->name) - 1));
	FT__POINT();
}

/* RESERVED -> LIVE, for ourselves. */
static bool come_alive(uint32_t owner, uint32_t from_process, uint32_t process)
{
	uint32_t generation = owner & FT__SLOT_GENERATION;
	uint64_t seen = head(generation | FT__SLOT_RESERVED, from_process);

	/* Release, with the fields before it: pairs with the loads of the word. */
	return ft__cas64_seq_cst(&ft__slot_of(owner)->head, &seen,
				 head(generation | FT__SLOT_LIVE, process));
}

static uint32_t register_process(void)
{
	uint32_t owner = take_any(0), seen = 0;
	char name[16] = "";

	if (!owner)
		return 0;

	struct ft__slot *slot = ft__slot_of(owner);

	prctl(PR_GET_NAME, name);
	slot->parent = 0;
	fill(slot, getpid(), getpid(), name);
	come_alive(owner, owner, owner);
	/* Another thread may have been faster. */
	if (ft__cas32_seq_cst(&process_owner, &seen, owner))
		return owner;
	ft__slot_free(owner);
	return seen;
}

uint32_t ft__process(void)
{
	uint32_t owner = ft__load32_acquire(&process_owner); /* pairs with its CAS */

	if (FT__LIKELY(owner))
		return owner;
	return ft__arena_ready() == 0 ? register_process() : 0;
}

/* The main thread's slot is the process's, and stays. */
void ft__self_leave(void)
{
	struct ft__self *self = &ft__self_tls;

	if (!self->owner)
		return;
	ft__cache_leave(self->cache);
	if (self->owner != ft__load32_acquire(&process_owner)) { /* pairs with its CAS */
		if (ft__slot_leaving)
			ft__slot_leaving(self->owner);
		if (!self->slot->noted)
			ft__slot_free(self->owner);
	}
	*self = (struct ft__self){ .number = self->number };
}

static void at_end(void *unused)
{
	(void)unused;
	ft__self_leave();
}

static void make_key(void)
{
	key_error = pthread_key_create(&key, at_end);
}

static uint32_t register_thread(uint32_t process, pid_t tid)
{
	uint32_t owner = take_any(process);
	char name[16] = "";

	if (!owner)
		return 0;

	struct ft__slot *slot = ft__slot_of(owner);

	prctl(PR_GET_NAME, name);
	slot->parent = 0;
	fill(slot, getpid(), tid, name);
	come_alive(owner, process, process);
	return owner;
}

int ft__self_register(void)
{
	int rc = ft__arena_ready();

	if (rc != 0)
		return rc;
	pthread_once(&key_once, make_key);
	if (key_error)
		return -key_error;

	uint32_t process = ft__process();
	pid_t tid = (pid_t)syscall(SYS_gettid);

	if (!process)
		return -EAGAIN;
	/* The key's value only says "there is something to undo". */
	rc = pthread_setspecific(key, &key);
	if (rc != 0)
		return -rc;

	uint32_t owner = tid == getpid() ? process : register_thread(process, tid);

	if (!owner)
		return -EAGAIN;
	ft__self_tls.slot = ft__slot_of(owner);
	ft__self_tls.owner = owner;
	return 0;
}

uint32_t ft__slot_more(struct ft__self *self)
{
	uint32_t owner = register_thread(ft__process(), self->slot->tid);

	/* Before its use: a thread that ends knows that it has to look for them. */
	self->more += owner != 0;
	return owner;
}

void ft__slot_less(struct ft__self *self, uint32_t owner)
{
	ft__slot_free(owner);
	self->more--;
}

uint32_t ft__slot_reserve(const char *name)
{
	uint32_t process = ft__process();
	uint32_t owner = process ? take_any(process) : 0;

	if (!owner)
		return 0;

	struct ft__slot *slot = ft__slot_of(owner);

	ft__store32_relaxed(&slot->parent, process); /* read by supervisors of others */
	fill(slot, 0, 0, name ? name : "");
	return owner;
}

void ft__slot_free(uint32_t owner)
{
	struct ft__slot *slot = ft__slot_of(owner);

	if (!slot)
		return;

	uint32_t generation = owner & FT__SLOT_GENERATION;
	uint64_t seen = ft__load64_acquire(&slot->head); /* pairs with the other CASes */

	/* Seq_cst, so release: the next taker's stores come after ours. */
	while (owner_in(owner & FT__SLOT_INDEX, word_of(seen)) == owner)
		if (ft__cas64_seq_cst(&slot->head, &seen, head(generation | FT__SLOT_FREE, 0))) {
			count_free(1);
			return;
		}
}

int ft__slot_adopt(uint32_t owner)
{
	struct ft__slot *slot = ft__slot_of(owner);

	if (!slot)
		return -EINVAL;

	/* Acquire: pairs with the maker's CAS; `parent` was written after it. */
	uint64_t seen = ft__load64_acquire(&slot->head);

	if (word_of(seen) != ((owner & FT__SLOT_GENERATION) | FT__SLOT_RESERVED))
		return -ESTALE;
	slot->pid = getpid();
	slot->tid = slot->pid;
	FT__POINT();
	if (!come_alive(owner, process_of(seen), owner))
		return -ESTALE;
	ft__store32_seq_cst(&process_owner, owner);
	ft__self_tls = (struct ft__self){ owner, ft__self_tls.number, .slot = slot };
	return 0;
}

/* The parent's cache is a copy in our heap: it is left there, as freeing it may
 * need a lock that another thread of the parent held. */
void ft__slot_forget(void)
{
	ft__self_tls = (struct ft__self){ .number = ft__self_tls.number };
	ft__store32_relaxed(&process_owner, 0);
	ft__store32_relaxed(&next_index, 0);
}

uint32_t ft__slot_count(void)
{
	uint32_t high = slots_high(), count = 0;

	for (uint32_t i = 0; i < high; i++)
		count += owner_in(i, ft__load32_relaxed(&ft__arena.slot[i].word)) != 0;
	return count;
}

uint32_t ft__slot_next(uint32_t *index)
{
	uint32_t high = FT__LOAD_POINTER(&ft__arena.base) ? slots_high() : 0, owner = 0;

	while (!owner && *index < high) {
		/* Acquire: as in ft__slot_alive. */
		owner = owner_in(*index, ft__load32_acquire(&ft__arena.slot[*index].word));
		++*index;
	}
	return owner;
}

bool ft__slot_joins(uint64_t handle)
{
	uint32_t high = slots_high();

	/* Seq_cst: pairs with join() in share.c. */
	for (uint32_t i = 0; i < high; i++)
		if (ft__load64_seq_cst(&ft__arena.slot[i].joining) == handle)
			return true;
	return false;
}

void ft__slot_each(uint32_t process, void (*fn)(void *ctx, uint32_t owner, struct ft__slot *slot),
		   void *ctx)
{
	if (!process || !FT__LOAD_POINTER(&ft__arena.base)) /* pairs with publish() */
		return;

	uint32_t high = slots_high();

	for (uint32_t i = 0; i < high; i++) {
		struct ft__slot *slot = &ft__arena.slot[i];
		uint64_t seen = ft__load64_acquire(&slot->head); /* pairs with the CASes */
		uint32_t owner = owner_in(i, word_of(seen));

		if (owner && owner != process && process_of(seen) == process)
			fn(ctx, owner, slot);
	}
	if (ft__slot_alive(process))
		fn(ctx, process, ft__slot_of(process));
}
