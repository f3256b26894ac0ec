/* SPDX-License-Identifier: MIT */
/*
 * The bell of lib/sync/bell.c, ringers killed at any step.
 *
 * RINGERS processes publish RESULTS results each and ring after every one: the
 * last time because they run out of work, which also wakes LAZY sleepers.  A
 * leader collects; it sleeps in either mode.  KILLS ringers die at any step; a
 * death is a level that ends the leader's sleep until it was looked at.
 *
 * Checked: whenever nothing moves any more, everything published is collected.
 *
 *   PASS
 *   PASS -DRESULTS=3 -DKILLS=1
 *   PASS -DRINGERS=3 -DRESULTS=1
 * Mutants: no notice of deaths; the leader does not look again after it said
 * that it sleeps; it says so after the look; it reads `word` after the look; a
 * ringer looks whether it sleeps before it publishes; it wakes without raising
 * `word`, or raises it after the wake; a LAZY sleeper is never woken
 *   FAIL -DNO_NOTICE
 *   FAIL -DNO_LOOK
 *   FAIL -DSAY_LATE
 *   FAIL -DREAD_LATE -DKILLS=0
 *   FAIL -DRING_EARLY
 *   FAIL -DWAKE_BARE -DKILLS=0
 *   FAIL -DWORD_LATE -DKILLS=0
 *   FAIL -DNEVER_LAZY
 */
#ifndef RINGERS
#define RINGERS 2
#endif
#ifndef RESULTS
#define RESULTS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif

#define EACH 1
#define LAZY 2

byte word = 0, asleep = 0;
bool parked = 0;
bool notice = 0;	/* a death that the leader has not seen yet */
byte published = 0, collected = 0;
byte kills;

#define POINT \
	if \
	:: atomic { kills > 0 -> kills--; notice = 1; goto dead } \
	:: true \
	fi

proctype Ringer()
{
	byte left = RESULTS, seen;

	do
	:: left > 0 ->
		left--;
#ifdef RING_EARLY
		seen = asleep;
		published++;
#else
		published++;
		POINT;
		seen = asleep;
#endif
#ifdef NEVER_LAZY
		if :: seen == LAZY -> seen = 0 :: else fi;
#else
		if :: seen == LAZY && left > 0 -> seen = 0 :: else fi;
#endif
		if
		:: seen ->
			atomic { seen = asleep; asleep = 0 };
			POINT;
			if
			:: seen ->
#ifdef WORD_LATE
				parked = 0;
				word++;
#else
#ifndef WAKE_BARE
				word++;
				POINT;
#endif
				parked = 0;
#endif
				POINT
			:: else
			fi
		:: else
		fi
	:: else -> break
	od;
dead:	atomic { left = 0; seen = 0 }
}

proctype Leader()
{
	byte seen;

collect:
	atomic { collected = published; notice = 0 };
#ifdef SAY_LATE
	seen = word;
	if :: collected != published -> goto collect :: else fi;
	if :: asleep = EACH :: asleep = LAZY fi;
#else
#ifndef READ_LATE
	seen = word;
#endif
	if :: asleep = EACH :: asleep = LAZY fi;
#ifndef NO_LOOK
	if :: collected != published -> asleep = 0; goto collect :: else fi;
#endif
#ifdef READ_LATE
	seen = word;
#endif
#endif
	atomic { if :: word == seen -> parked = 1 :: else fi };
end:
	if
	:: !parked
#ifndef NO_NOTICE
	:: notice
#endif
	:: atomic { timeout -> assert(collected == published); goto out }
	fi;
	atomic { parked = 0; asleep = 0; seen = 0 };
	goto collect;
out:	skip
}

init {
	byte i = 0;
	atomic {
		/* Smaller budgets are cases of their own, see robust_lock.pml. */
		select(kills : 0 .. KILLS);
		run Leader();
		do :: i < RINGERS -> run Ringer(); i++ :: else -> break od
	}
}
