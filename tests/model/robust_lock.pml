/* SPDX-License-Identifier: MIT */
/*
 * The robust lock of lib/sync/lock.c, killed at any step.
 *
 * N processes each acquire and release ROUNDS times; KILLS of them die at any
 * step, GIVEUPS waits end by timeout or signal.  A supervisor settles every
 * death once the kernel proved it.  There is no robust list in the kernel: the
 * journal note, the DIED mark and the rescue wake are all there is.
 *
 * Checked: mutual exclusion (assert), and that nobody stays parked for ever:
 * such a state is an invalid end state, since only the supervisor may idle.
 *
 * Configurations
 *   (none)            every process can note the lock
 *   UNNOTED           process N finds its journal full, so it sets `polled`
 *                     and never parks on the word; sleepers that saw `polled`
 *                     after they read the word look again from time to time
 *   FOREIGN           who releases is not who acquired (FT_LOCK_UNOWNED) and
 *                     has no note; it may die as soon as the word is stored
 * Mutants, each must fail
 *   STORE_THEN_WAKE   with FOREIGN: contended unlock in two steps
 *   NO_RESCUE         the supervisor marks nothing and wakes nobody
 *   MARK_ONLY         it marks DIED, but wakes nobody
 *   FORGET_WAITERS    a new owner takes the lock without WAITERS (BZ#20973)
 *   FORGET_EXTRA      N=4: it keeps the bit it saw, but who has been parked does
 *                     not add it; a late drop of WAITERS then strands a sleeper
 *   DROP_ALWAYS       with FORGET_EXTRA: WAITERS is dropped although somebody
 *                     was woken.  (Alone it is safe: the woken one adds the bit.)
 *   GIVE_UP_WOKEN     a woken waiter gives up without another look at the word
 *   NOTE_LATE         the note is made after the word was taken
 *   UNNOTED_PARKS     with UNNOTED: process N parks on the word like the others
 *   POLLED_EARLY      with UNNOTED: `polled` is read before the word
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
#ifndef ROUNDS
#define ROUNDS 1
#endif

#define W 8
#define D 16
#define OWN(x) ((x) & 7)

byte word = 0;
bool blocked[5];	/* parked on the word */
bool noted[5];		/* journal entry */
bool died[5];		/* dead, not settled yet */
bool gone[5];		/* slot freed */
bool polled = 0;
byte inside = 0;
byte kills, giveups;	/* budgets still unspent; see init */

#ifdef UNNOTED
#define CAN_NOTE (me != N)
#else
#define CAN_NOTE 1
#endif

inline wake_one(woke)
{
	if
	:: blocked[1] -> blocked[1] = 0; woke = 1
	:: blocked[2] -> blocked[2] = 0; woke = 1
	:: blocked[3] -> blocked[3] = 0; woke = 1
	:: blocked[4] -> blocked[4] = 0; woke = 1
	:: else -> woke = 0
	fi
}

inline die()
{
	atomic { kills--; blocked[me] = 0; died[me] = 1; goto dead }
}

#define POINT if :: kills > 0 -> die() :: skip fi

inline cas(new)
{
	atomic { if :: word == old -> word = new; done = 1 :: else -> old = word; done = 0 fi }
}

proctype P(byte me)
{
	byte old, new, extra, rounds = ROUNDS;
	bool woke, mayPoll;

	/* A kill between two loads is the same as one before them, so there is
	 * a POINT only behind what others can see. */
again:
#ifndef NOTE_LATE
	if :: CAN_NOTE -> noted[me] = 1 :: else -> polled = 1 fi;
#endif
	POINT;
load:
	atomic {
#ifdef POLLED_EARLY
		mayPoll = polled;
#endif
		old = word
	};
look:
	atomic {
		if
		:: OWN(old) == 0 || (old & D) || gone[OWN(old)] ->
#ifdef FORGET_WAITERS
			new = me;
#else
			new = me | (old & W) | extra;
#endif
			goto take
		:: else
		fi
	};
#ifdef UNNOTED
#ifndef UNNOTED_PARKS
	if
	:: CAN_NOTE
	:: atomic { !CAN_NOTE && (word != old || gone[OWN(old)]) -> goto load }
	:: atomic { !CAN_NOTE && giveups > 0 -> giveups--; goto leave }
	fi;
#endif
#endif
	atomic {
		if
		:: !(old & W) && word == old -> word = old | W; old = old | W
		:: !(old & W) && word != old -> old = word; goto look
		:: else
		fi
	};
#ifndef POLLED_EARLY
	mayPoll = polled;
#endif
	atomic { if :: word == old -> blocked[me] = 1 :: else fi };
	if
	:: atomic { !blocked[me] -> skip }
#ifdef GIVE_UP_WOKEN
	:: atomic { !blocked[me] && giveups > 0 -> giveups--; goto leave }
#endif
	:: atomic { blocked[me] && giveups > 0 -> giveups--; blocked[me] = 0; goto leave }
	:: atomic { blocked[me] && mayPoll && (word != old || gone[OWN(word)]) -> blocked[me] = 0 }
	:: kills > 0 -> die()
	fi;
#ifndef FORGET_EXTRA
	extra = W;
#endif
	POINT;
	goto load;

take:	/* the look above and this CAS are two steps */
	atomic {
		if
		:: word == old -> word = new
		:: else -> old = word; goto look
		fi
	};
#ifdef NOTE_LATE
	POINT;
	noted[me] = 1;
#endif
	inside++;
	assert(inside == 1);
	if
	:: kills > 0 -> atomic { inside--; die() }
	:: inside--
	fi;

#ifdef FOREIGN
	noted[me] = 0;
#endif
	atomic { if :: word == me -> word = 0; goto leave :: else fi };
#ifdef STORE_THEN_WAKE
	word = W;
	POINT;
	atomic { wake_one(woke) };
#else
	atomic { word = W; wake_one(woke) };
#endif
	POINT;
	atomic {
#ifdef DROP_ALWAYS
		woke = 0;
#endif
		if :: !woke && word == W -> word = 0 :: else fi;
		woke = 0
	};
leave:
	POINT;
	atomic { noted[me] = 0; old = 0; new = 0; extra = 0; mayPoll = 0; rounds-- };
	if :: rounds > 0 -> goto again :: else fi;
dead:	atomic { old = 0; new = 0; extra = 0; mayPoll = 0; woke = 0; rounds = 0 }
}

inline settle(i)
{
	if
	:: noted[i] ->
#ifndef NO_RESCUE
		old = word;
		do
		:: OWN(old) == i && !(old & D) ->
			new = old | D;
			cas(new);
			if :: done -> break :: else fi
		:: else -> break
		od;
#ifndef MARK_ONLY
		atomic { blocked[1] = 0; blocked[2] = 0; blocked[3] = 0; blocked[4] = 0 }
#endif
#endif
		skip
	:: else
	fi;
	died[i] = 0;
	gone[i] = 1
}

proctype Supervisor()
{
	byte old, new;
	bool done;
end:
	do
	:: died[1] -> settle(1)
	:: died[2] -> settle(2)
	:: died[3] -> settle(3)
	:: died[4] -> settle(4)
	od
}

init {
	byte i = 1;
	atomic {
		/* Somebody who may still be killed or give up is not stuck in
		 * Spin's eyes, so every smaller budget is a case of its own. */
		select(kills : 0 .. KILLS);
		select(giveups : 0 .. GIVEUPS);
		run Supervisor();
		do :: i <= N -> run P(i); i++ :: else -> break od
	}
}
