/* SPDX-License-Identifier: MIT */
/*
 * The classic futex(2): every kernel, gVisor and every container profile has
 * it, and futex2's calls cost the same.
 */
#include "os/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/atomic.h"
#include "os/clock.h"
#include "os/compiler.h"

static int private_flag(bool shared)
{
	return shared ? 0 : FUTEX_PRIVATE_FLAG;
}

int ft__futex_wait(const uint32_t *word, uint32_t expected, bool shared, ft_deadline deadline)
{
	struct timespec ts = ft__timespec(deadline);

	/* WAIT_BITSET and not WAIT: its timeout is absolute, so a wait that is
	 * resumed after a signal needs no arithmetic. */
	long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | private_flag(shared), expected,
			  deadline == FT_FOREVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);

	return rc < 0 ? -errno : 0;
}

int ft__futex_wake(const uint32_t *word, int count, bool shared)
{
	long rc = syscall(SYS_futex, word, FUTEX_WAKE | private_flag(shared), count, NULL, NULL, 0);

	/* EFAULT: the object was unmapped after the store that let its last user
	 * go; nobody sleeps there.  Nothing else can fail. */
	return rc < 0 ? 0 : (int)rc;
}

/*
 * FUTEX_WAKE_OP's operand: "*word = value", and a comparison of the old value
 * for a second wake that we do not want.  No comparison is false for all old
 * values; "== -1" is for all words of ours, as it would mean a dead owner with
 * the highest id, and if it were true, one more sleeper would look in vain.
 */
static uint32_t store_operand(uint32_t value)
{
	uint32_t op = FUTEX_OP_SET, arg = 0;

	if (value) {
		op |= FUTEX_OP_OPARG_SHIFT;
		arg = (uint32_t)__builtin_ctz(value);
	}
	return op << 28 | (uint32_t)FUTEX_OP_CMP_EQ << 24 | arg << 12 | 0xfffu;
}

int ft__futex_store_wake(uint32_t *word, uint32_t value, int count, bool shared)
{
	bool carries = (value & (value - 1)) == 0;

	/* The kernel's store is invisible to ThreadSanitizer. */
	FT__TSAN_RELEASE(word);
	FT__POINT();
	long rc = carries ? syscall(SYS_futex, word, FUTEX_WAKE_OP | private_flag(shared), count,
				    (void *)0, word, store_operand(value))
			  : -1;
	FT__POINT();
	if (rc >= 0)
		return (int)rc;
	/* The store must happen, whatever a sandbox thinks of WAKE_OP; a kill
	 * between these two is what the supervisor's wake-ups are for. */
	if (carries && errno == EFAULT)
		return 0;
	ft__store32_seq_cst(word, value);
	return ft__futex_wake(word, count, shared);
}
