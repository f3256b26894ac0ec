/* SPDX-License-Identifier: MIT */
/*
 * The event of lib/sync/event.c, killed at any step.
 *
 * Process 1 sets; process 2 sets, clears and, where SETS is 2, sets and clears
 * again; 3 (and 4, where N is 4) wait; process 5 clears.  KILLS of them die at
 * any step, GIVEUPS waits end early.  A supervisor wakes every sleeper of an
 * event that a dead process had noted.
 *
 * Checked, whenever nothing moves any more: nobody is parked although the flag
 * is set, or was set since it came.
 *
 * Runs
 *   PASS
 *   PASS -DSETS=2 -DKILLS=1
 *   PASS -DN=4 -DKILLS=0 -DGIVEUPS=0
 * and mutants: the supervisor does nothing; the note is made after the CAS
 *   FAIL -DNO_RESCUE
 *   FAIL -DNOTE_LATE
 * a waiter looks at SET only, so that a set which is cleared at once leaves it
 * parked; it parks without WAITERS in the word
 *   FAIL -DNO_EPOCH
 *   FAIL -DPARK_BARE
 * clear or set is a mere store; a setter wakes one sleeper
 *   FAIL -DCLEAR_STORES
 *   FAIL -DSET_STORES
 *   FAIL -DWAKE_ONE -DN=4 -DKILLS=0
 */
#ifndef N
#define N 3
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef GIVEUPS
#define GIVEUPS 1
#endif
#ifndef SETS
#define SETS 1
#endif

#define SET 1
#define W 2
#define EPOCH 4

byte word = 0;
bool blocked[6];
byte came[6];		/* the epoch that a waiter found */
bool noted[6];
bool died[6];
byte kills, giveups;

inline die()
{
	atomic { kills--; blocked[me] = 0; died[me] = 1; goto dead }
}

#define POINT if :: kills > 0 -> die() :: skip fi
#define RELEASED(w) (((w) & SET) || ((w) / EPOCH != came[me]))

inline wake_all()
{
#ifdef WAKE_ONE
	atomic {
		if
		:: blocked[3] -> blocked[3] = 0
		:: blocked[4] -> blocked[4] = 0
		:: else
		fi
	}
#else
	d_step { blocked[3] = 0; blocked[4] = 0 }
#endif
}

inline set()
{
	old = word;
	do
	:: old & SET -> break
	:: else ->
#ifndef NOTE_LATE
		if :: old & W -> noted[me] = 1; POINT :: else fi;
#endif
		atomic {
#ifdef SET_STORES
			word = (old / EPOCH + 1) * EPOCH | SET;
			done = 1
#else
			done = (word == old);
			if
			:: done -> word = (old / EPOCH + 1) * EPOCH | SET
			:: else -> noted[me] = 0; old = word
			fi
#endif
		};
		if :: done -> POINT :: else fi;
#ifdef NOTE_LATE
		noted[me] = 1;
		POINT;
#endif
		if :: done && (old & W) -> wake_all(); POINT :: else fi;
		noted[me] = 0;
		if :: done -> break :: else fi
	od
}

inline clear()
{
	old = word;
	do
	:: !(old & SET) -> break
	:: else ->
		atomic {
#ifdef CLEAR_STORES
			word = old - SET; break
#else
			if :: word == old -> word = old - SET; break :: else -> old = word fi
#endif
		}
	od;
	POINT
}

proctype Setter(byte me)
{
	byte old;
	bool done;

	set();
dead:	atomic { old = 0; done = 0 }
}

proctype SetterAndClearer(byte me)
{
	byte old, sets = SETS;
	bool done;

	do
	:: sets > 0 -> set(); clear(); sets--
	:: else -> break
	od;
dead:	atomic { old = 0; done = 0; sets = 0 }
}

proctype Clearer(byte me)
{
	byte old;

	clear();
dead:	old = 0
}

proctype Waiter(byte me)
{
	byte old;

	atomic { old = word; came[me] = word / EPOCH };
look:
	if
#ifdef NO_EPOCH
	:: old & SET -> goto out
#else
	:: RELEASED(old) -> goto out
#endif
	:: else
	fi;
#ifndef PARK_BARE
	atomic {
		if
		:: !(old & W) && word == old -> word = old | W; old = old | W
		:: !(old & W) && word != old -> old = word; goto look
		:: else
		fi
	};
#endif
	atomic { if :: word == old -> blocked[me] = 1 :: else fi };
parked:
	if
	:: atomic { !blocked[me] -> old = word; goto look }
	:: atomic { blocked[me] && giveups > 0 -> giveups--; blocked[me] = 0 }
	:: atomic { blocked[me] && timeout -> assert(!RELEASED(word)); blocked[me] = 0 }
	:: kills > 0 -> die()
	fi;
out:	skip;
dead:	old = 0
}

inline rescue()
{
#ifdef NO_RESCUE
	skip
#else
	d_step { blocked[3] = 0; blocked[4] = 0 }
#endif
}

proctype Supervisor()
{
end:
	do
	:: d_step { died[1] -> died[1] = 0 };
	   if :: noted[1] -> rescue() :: else fi
	:: d_step { died[2] -> died[2] = 0 };
	   if :: noted[2] -> rescue() :: else fi
	od
}

init {
	atomic {
		/* Smaller budgets are cases of their own, see robust_lock.pml. */
		select(kills : 0 .. KILLS);
		select(giveups : 0 .. GIVEUPS);
		run Supervisor();
		run Setter(1);
		run SetterAndClearer(2);
		run Waiter(3);
		if :: N > 3 -> run Waiter(4) :: else fi;
		run Clearer(5)
	}
}
