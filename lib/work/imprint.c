/* SPDX-License-Identifier: MIT */
#include "work/imprint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "os/atomic.h"
#include "os/pages.h"
#include "work/private_fd.h"

struct sheet {
	uint32_t told; /* see the header */
	struct ft__pages pages;
};

/* All in one thread. */
static struct sheet *sheet; /* NULL: not yet, or not any more */
static bool begun;          /* one spare only is asked, once */
static bool ours;           /* it is the one that is being cloned */

static void lay_out(void)
{
	void *memory = mmap(NULL, sizeof(*sheet), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	begun = true;
	ours = memory != MAP_FAILED;
	sheet = ours ? memory : NULL;
}

static void fold_up(void)
{
	munmap(sheet, sizeof(*sheet));
	sheet = NULL;
}

void ft__imprint_expect(void)
{
	if (!begun) {
		lay_out();
		return;
	}
	/* Partner: the release in ft__imprint_tell. */
	if (!sheet || !ft__load32_acquire(&sheet->told))
		return;
	/* Kept as long as the helper lives, and by none of its workers. */
	ft__private_fd(ft__pages_pin(&sheet->pages));
	fold_up();
}

void ft__imprint_cloned(void)
{
	ours = false;
}

void ft__imprint_tell(void)
{
	if (!sheet)
		return;
	/* Partner: the acquire in ft__imprint_expect. */
	if (ours && !ft__pages_own(&sheet->pages))
		ft__store32_release(&sheet->told, 1);
	fold_up();
}
