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
 * UNNOTED: process N finds its journal full, so it sets `polled` and never
 * parks on the word; sleepers that saw `polled` after they read the word look
 * again from time to time.  FOREIGN: who releases is not who acquired
 * (FT_LOCK_UNOWNED), has no note, and may die as soon as the word is stored.
 *   PASS
 *   PASS -DFOREIGN
 *   PASS -DUNNOTED -DKILLS=1
 *   LONG PASS -DN=4 -DKILLS=0 -DGIVEUPS=0
 * Mutants.  The supervisor marks nothing and wakes nobody; it marks DIED, but
 * wakes nobody; the note is made after the word was taken; a contended unlock
 * is two steps, and whose it is cannot be told by a note
 *   FAIL -DNO_RESCUE
 *   FAIL -DMARK_ONLY
 *   FAIL -DNOTE_LATE
 *   FAIL -DSTORE_THEN_WAKE -DFOREIGN
 * A new owner takes the lock without WAITERS (BZ#20973); it keeps the bit it saw,
 * but who was parked does not add it, and a late drop strands a sleeper; so does
 * every drop if WAITERS is dropped although somebody was woken (alone that is
 * safe, since the woken one adds the bit)
 *   FAIL -DFORGET_WAITERS
 *   FAIL -DFORGET_EXTRA -DN=4 -DKILLS=0 -DGIVEUPS=0
 *   FAIL -DFORGET_EXTRA -DDROP_ALWAYS
 * A woken waiter gives up without another look at the word; process N parks like
 * the others; `polled` is read before the word
 *   FAIL -DGIVE_UP_WOKEN
 *   FAIL -DUNNOTED -DUNNOTED_PARKS -DKILLS=1
 *   FAIL -DUNNOTED -DPOLLED_EARLY -DKILLS=1
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
