/* SPDX-License-Identifier: MIT */
/*
 * The semaphore of lib/sync/semaphore.c, killed at any step.
 *
 * The word is a value and the WAITERS bit W.  TAKERS processes acquire, GIVERS
 * release, PAIRS do one after the other, each of them ROUNDS times; up to KILLS
 * die at any step, up to GIVEUPS waits end by timeout or signal.  A supervisor
 * wakes every sleeper after a death that had noted the semaphore.
 *
 * Checked, whenever nothing moves any more: nobody is parked while a unit is
 * free; no unit was made or lost but those that the dead had in hand.
 *
 *   PASS
 *   LONG PASS -DPAIRS=0 -DTAKERS=2 -DTAKES=2 -DGIVERS=2 -DROUNDS=2 -DUNITS=0 -DKILLS=0 -DGIVEUPS=0
 *   FAIL -DGIVE_UP_WOKEN  who was woken may give up without another look
 *   FAIL -DSTORE_LATE     the releaser wakes before it adds the unit
 *   FAIL -DNO_RESCUE      the supervisor does nothing
 *   FAIL -DPARK_UNNOTED   a waiter that sleeps has no note
 *   FAIL -DGIVE_UNNOTED   a releaser has none
 *   FAIL -DPAIRS=0 -DTAKERS=2 -DTAKES=2 -DGIVERS=2 -DROUNDS=2 -DUNITS=0 -DKILLS=0 -DGIVEUPS=0 -DNO_CHAIN
 *                         who was woken and leaves units behind wakes nobody
 *   FAIL -DPAIRS=0 -DTAKERS=2 -DTAKES=2 -DGIVERS=2 -DROUNDS=2 -DUNITS=0 -DKILLS=0 -DGIVEUPS=0 -DFORGET_EXTRA
 *                         who was woken takes its unit without setting W
 */
#ifndef TAKERS
#define TAKERS 0
#endif
#ifndef GIVERS
#define GIVERS 0
#endif
#ifndef PAIRS
#define PAIRS 3
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
#ifndef UNITS
#define UNITS 1
#endif

#ifndef TAKES
#define TAKES 1
#endif
#define W 16
#define VALUE(x) ((x) & 15)
#ifndef START
#define START UNITS
#endif

byte word = START;
bool blocked[5];	/* parked on the word */
bool noted[5];		/* journal entry */
bool died[5];		/* dead, not settled yet */
byte held = 0;		/* units in living hands */
byte lost = 0;		/* units in dead ones */
byte made = UNITS;	/* units that exist */
byte kills, giveups;

inline wake_one()
{
	if
	:: blocked[0] -> blocked[0] = 0; woke = 1
	:: blocked[1] -> blocked[1] = 0; woke = 1
	:: blocked[2] -> blocked[2] = 0; woke = 1
	:: blocked[3] -> blocked[3] = 0; woke = 1
	:: blocked[4] -> blocked[4] = 0; woke = 1
	:: else -> woke = 0
	fi
}

inline die()
{
	atomic { kills--; blocked[me] = 0; died[me] = 1; lost = lost + has; held = held - has; goto dead }
}

#if KILLS > 0
#define POINT if :: kills > 0 -> die() :: skip fi
#else
#define POINT skip
#endif

proctype P(byte me; bool takes; bool gives)
{
	byte old, new, rounds = (gives -> ROUNDS : TAKES);
	bool woke, has, slept;

	/* A kill between two loads is the same as one before them, so there is
	 * a POINT only behind what others can see. */
again:	if :: takes :: else -> goto give fi;
load:	atomic { old = word; goto look };
look:	atomic {
		if
		:: VALUE(old) > 0 ->
			new = old - 1;
#ifndef FORGET_EXTRA
			if :: slept -> new = new | W :: else fi;
#endif
			goto take
		:: else
		fi
	};
	atomic {
#ifndef PARK_UNNOTED
		noted[me] = 1;
#endif
		if
		:: !(old & W) && word == old -> word = old | W; old = old | W
		:: !(old & W) && word != old -> old = word; goto look
		:: else
		fi
	};
	POINT;
	atomic { if :: word == old -> blocked[me] = 1 :: else fi };
end_parked:
	if
	:: atomic { !blocked[me] -> slept = 1 }
#ifdef GIVE_UP_WOKEN
	:: atomic { !blocked[me] && giveups > 0 -> giveups--; goto out }
#endif
	:: atomic { blocked[me] && giveups > 0 -> giveups--; blocked[me] = 0; goto out }
	:: kills > 0 -> die()
	fi;
	goto load;

take:	/* the look above and this CAS are two steps */
	atomic {
		if
		:: word == old -> word = new; has = 1; held++
		:: else -> old = word; goto look
		fi
	};
#ifndef NO_CHAIN
	if
	:: slept && VALUE(new) > 0 ->
		POINT;
		atomic { wake_one() }
	:: else
	fi;
#endif
out:	POINT;
	atomic {
		noted[me] = 0; slept = 0; old = 0; new = 0; woke = 0;
		if :: gives && has :: else -> goto next fi
	};

give:
#ifndef GIVE_UNNOTED
	noted[me] = 1;
#endif
#ifdef STORE_LATE
	if :: word & W -> atomic { wake_one() } :: else fi;
#endif
	POINT;
plus:	atomic {
		old = word;
		word = old + 1;
		new = word;
		if :: has -> has = 0; held-- :: else -> made++ fi;
		if :: !(new & W) -> goto out2 :: else fi
	};
#ifndef STORE_LATE
	POINT;
	atomic { wake_one() };
	POINT;
	atomic {
		if :: !woke && word == new -> word = VALUE(new) :: else fi
	};
#endif
out2:	POINT;
	atomic { noted[me] = 0; old = 0; new = 0; woke = 0 };
next:	atomic {
		held = held - has; lost = lost + has; has = 0; rounds--;
		if :: rounds > 0 -> goto again :: else fi
	};
dead:	atomic { old = 0; new = 0; slept = 0; woke = 0; has = 0; rounds = 0 }
}

inline settle(i)
{
	atomic {
		if
		:: noted[i] ->
#ifndef NO_RESCUE
			blocked[0] = 0; blocked[1] = 0; blocked[2] = 0; blocked[3] = 0; blocked[4] = 0
#endif
		:: else
		fi;
		noted[i] = 0;
		died[i] = 0
	}
}

#define PARKED (blocked[0] || blocked[1] || blocked[2] || blocked[3] || blocked[4])

proctype Supervisor()
{
end:	do
	:: died[0] -> settle(0)
	:: died[1] -> settle(1)
	:: died[2] -> settle(2)
	:: died[3] -> settle(3)
	:: died[4] -> settle(4)
	:: timeout ->
		assert(!(VALUE(word) > 0 && PARKED));
		assert(VALUE(word) + held + lost == made);
		break
	od
}

init {
	byte i = 0;
	atomic {
		/* Somebody who may still be killed or give up is not stuck in
		 * Spin's eyes, so every smaller budget is a case of its own. */
		select(kills : 0 .. KILLS);
		select(giveups : 0 .. GIVEUPS);
		run Supervisor();
		do :: i < TAKERS -> run P(i, 1, 0); i++ :: else -> break od;
		do :: i < TAKERS + GIVERS -> run P(i, 0, 1); i++ :: else -> break od;
		do :: i < TAKERS + GIVERS + PAIRS -> run P(i, 1, 1); i++ :: else -> break od
	}
}
