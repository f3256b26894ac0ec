/* SPDX-License-Identifier: MIT */
/*
 * Shared blocks: lib/mem/share.h and hold.h.  One process holds the block at first, the
 * others know its name, and join, use and leave it, each for some rounds.  KILLS of
 * them may die at any step; a sweeper, which joins like the others, takes away what
 * they held.
 *
 * To be shown: the block is ended by nobody while somebody holds it or is about
 * to; whoever joined finds it there; and in the end it has been ended, once, by
 * whoever came last, and no page is left.
 *
 * A hold, a slot and the word are one variable each.  The first page has a place
 * for the first hold only, so that all others need a second one: each process makes
 * its own, and links it, or finds that of another linked and frees its own.  There
 * each has a place (in lib several may want the same one, which a CAS decides).  An
 * end that was begun is gone through again by the sweeper (what is in the block is
 * not modelled).  The cursor in the first page is written by who is joining; what it
 * says is not modelled, but that the page is one.
 *
 *   PASS
 *   PASS -DKILLS=0 -DWORKERS=3 -DROUNDS=1
 *   FAIL -DNO_SLOT            joins without saying so in its slot
 *   FAIL -DSLOT_LATE          says so after the join
 *   FAIL -DSLOT_SHORT         leaves the slot before the hold is there
 *   FAIL -DHOLDS_FIRST        looks at the holds before the slots
 *   FAIL -DNO_COUNT           a join leaves no trace in the word
 *   FAIL -DLOOK_EARLY         looks before its own hold is gone
 *   FAIL -DNO_LOOK            a sweeper that does not look
 *   FAIL -DNO_FORGET          a sweeper that leaves the slot of the dead as it is
 *   FAIL -DNO_RESUME          a sweeper that leaves an end as it is
 *   FAIL -DNO_CAS             links a page in place of another
 *   FAIL -DPAGE_LEFT          a sweeper that leaves the page of the dead as it is
 *   FAIL -DPAGE_TAKEN         a sweeper that frees it without a look at the link
 *   FAIL -DCURSOR_LATE        the cursor is written by who looks at the holds
 *   FAIL -DPAGE_ONCE          frees a page as it was, which its sweeper changed
 *   FAIL -DPAGE_LOOSE         a page that was not linked is left as it is
 *   LONG PASS -DKILLS=0 -DWORKERS=3
 *   LONG PASS -DKILLS=1 -DWORKERS=3 -DROUNDS=1
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#define SWEEPER WORKERS
#define ALL (WORKERS + 1)

#define SHARED 0
#define ENDING 1
#define FREE 2

#define NONE 0
#define OWN 1
#define LINKED 2

byte state = SHARED, joins;  /* the word */
byte ender;                  /* in the word, while ENDING */
bool first;                  /* the hold in the first page */
bool hold[ALL];              /* those in the second */
byte page[ALL];              /* the one that it made for that */
byte link;                   /* whose is linked, + 1 */
bool slot[ALL];
bool inside[ALL];            /* joined, for the asserts: not part of the protocol */
bool over[ALL], dead[ALL];
byte deaths, ends;

#define MAY_DIE if :: atomic { deaths < KILLS -> deaths++; goto died } :: true fi

inline end_it(me) {
	atomic {
		for (k : 0 .. WORKERS) { assert(!inside[k] || dead[k]) }
		k = 0
	}
}

inline look_at_slots() {
	k = 0;
	do
	:: k < ALL && slot[k] -> busy = true; break
	:: k < ALL && !slot[k] -> k++
	:: k == ALL -> break
	od
}

/* To the first page, which goes when the block is ended. */
inline write_cursor() {
	assert(state == SHARED)
}

/* Is the second page there for whoever walks? */
#define is_there (link && page[link - 1] != NONE)

inline look_at_holds() {
	atomic {
		if
		:: first -> busy = true; k = ALL
		:: else -> k = 0
		fi
	}
	if
	:: !busy && is_there
	:: else -> k = ALL
	fi;
	do
	:: k < ALL && is_there && hold[k] -> busy = true; break
	:: k < ALL && !(is_there && hold[k]) -> k++
	:: k == ALL -> break
	od;
#ifdef CURSOR_LATE
	if
	:: busy && k < ALL -> write_cursor()
	:: else
	fi
#endif
}

/* What stood in another page is seen by nobody. */
inline lose_holds() {
	for (k : 0 .. WORKERS) { hold[k] = false }
	k = 0
}

/* Its own page becomes the second one: `linked`, or somebody else's is. */
inline link_page(me) {
	atomic {
		linked = (link == 0);
		if
		:: linked ->
			link = me + 1;
			hold[me] = true
		:: else
		fi
	}
#ifdef NO_CAS
	atomic {
		if
		:: !linked -> link = me + 1; linked = true; lose_holds(); hold[me] = true
		:: else
		fi
	}
#endif
}

inline put(me) {
	if
	:: link == 0 ->
		page[me] = OWN;
		MAY_DIE;
		link_page(me);
		MAY_DIE;
		if
		:: linked -> page[me] = LINKED
		:: else ->
#ifndef PAGE_LOOSE
			page[me] = NONE
#endif
		fi
	:: else
	fi;
	hold[me] = true;
	write_cursor()
}

inline take(me) {
	if
	:: me == 0 && first -> first = false
	:: else -> hold[me] = false
	fi
}

/* Whether its maker has come to say that it is linked, or not. */
inline free_pages() {
	if
	:: link ->
		was = page[link - 1];
		atomic {
			if
			:: page[link - 1] == was -> page[link - 1] = NONE; was = NONE
			:: else -> was = page[link - 1]
			fi
		}
#ifndef PAGE_ONCE
		atomic {
			if
			:: was != NONE && page[link - 1] == was -> page[link - 1] = NONE
			:: else
			fi;
			was = NONE
		}
#endif
	:: else
	fi
}

inline free_block() {
	atomic { state = FREE; ends++ }
}

/* Steps 2 and 3 of who leaves: `ended` if it was the last. */
inline look(me) {
	atomic { ended = false; seen = joins; busy = (state != SHARED) }
#ifdef HOLDS_FIRST
	if :: !busy -> look_at_holds() :: else fi;
	if :: !busy -> look_at_slots() :: else fi;
#else
	if :: !busy -> look_at_slots() :: else fi;
	if :: !busy -> look_at_holds() :: else fi;
#endif
	atomic {
		if
		:: !busy && state == SHARED && joins == seen ->
			state = ENDING; ender = me; ended = true
		:: else
		fi
	}
}

/* Step 2 of who joins. */
inline join(me) {
	atomic {
		joined = (state == SHARED);
		if
		:: joined ->
			inside[me] = true;
#ifndef NO_COUNT
			joins = (joins + 1) % 16
#endif
		:: else
		fi
	}
}

proctype worker(byte me) {
	byte k, seen, round, was;
	bool busy, ended, joined, linked;

	if
	:: me == 0 -> goto leave
	:: else
	fi;
again:
	if
	:: round == ROUNDS -> goto out
	:: else -> round++
	fi;
#if !defined(NO_SLOT) && !defined(SLOT_LATE)
	slot[me] = true;
	MAY_DIE;
#endif
	join(me);
	MAY_DIE;
	if
	:: !joined -> slot[me] = false; goto out
	:: else
	fi;
#ifdef SLOT_LATE
	slot[me] = true;
#endif
#ifdef SLOT_SHORT
	slot[me] = false;
#endif
	put(me);
	MAY_DIE;
	slot[me] = false;
	MAY_DIE;
	assert(state == SHARED);
leave:
	inside[me] = false;
#ifndef LOOK_EARLY
	take(me);
	MAY_DIE;
#endif
	look(me);
#ifdef LOOK_EARLY
	take(me);
#endif
	if
	:: !ended -> goto again
	:: else
	fi;
	MAY_DIE;
	end_it(me);
	assert(state == ENDING && ender == me);
	free_pages();
	MAY_DIE;
	free_block();
out:
	over[me] = true;
	goto done;
died:
	atomic { dead[me] = true; inside[me] = false; over[me] = true }
done:
	skip
}

inline sweep(i) {
#ifndef NO_FORGET
	slot[i] = false;
#endif
	if
	:: state == ENDING && ender == i ->
#ifndef NO_RESUME
		ender = SWEEPER;
		end_it(SWEEPER);
		free_pages();
		free_block()
#endif
	:: else ->
		slot[SWEEPER] = true;
		join(SWEEPER);
		if
		:: joined ->
			if :: i == 0 -> first = false :: else fi;
			hold[i] = false;
			inside[SWEEPER] = false;
			slot[SWEEPER] = false;
#ifndef NO_LOOK
			look(SWEEPER);
			if
			:: ended -> end_it(SWEEPER); free_pages(); free_block()
			:: else
			fi
#endif
		:: else -> slot[SWEEPER] = false
		fi
	fi
}

/* What the dead had made and not said to be linked: is it?  Whoever ends the block
 * just now frees what is linked, in the same step as we would. */
inline sweep_page(i) {
	if
	:: page[i] != OWN -> skip
	:: page[i] == OWN ->
		if
#ifndef PAGE_TAKEN
		:: state != FREE && link == i + 1 ->
			atomic { if :: page[i] == OWN -> page[i] = LINKED :: else fi }
#endif
		:: else ->
			atomic {
				assert(state != SHARED || link != i + 1);
				if :: page[i] == OWN -> page[i] = NONE :: else fi
			}
		fi
	fi
}

proctype sweeper() {
	byte k, seen, i, was;
	bool busy, ended, joined;

	do
	:: i < WORKERS ->
		over[i];
		if
		:: dead[i] ->
			sweep(i);
#ifndef PAGE_LEFT
			sweep_page(i)
#endif
		:: else
		fi;
		i++
	:: else -> break
	od;
	over[SWEEPER] = true
}

init {
	byte w;

	atomic {
		first = true;
		inside[0] = true;
		for (w : 0 .. WORKERS - 1) { run worker(w) }
		run sweeper()
	}
	for (w : 0 .. WORKERS) { over[w] }
	assert(state == FREE && ends == 1);
	for (w : 0 .. WORKERS) { assert(page[w] == NONE) }
}
