/* SPDX-License-Identifier: MIT */
/*
 * The barrier of lib/sync/barrier.c, killed at any step inside it.
 *
 * N parties wait ROUNDS times each, and leave for good when a wait fails; up to
 * KILLS die at any step of a wait, up to GIVEUPS deadlines pass.  With RESET
 * somebody else resets the barrier once, at any time; with LEAD the last to
 * arrive leaves the lock before it lets the others go; with STOP a deadline may also
 * pass for one who wants the lock, as if its holder were stopped.  A supervisor dooms a
 * barrier that a dead party was inside, without the lock.  The lock is taken to be right
 * (robust_lock.pml); whoever gets it next may get it before or after the dead
 * owner was settled.
 *
 * Checked: all who return from a generation agree on how it ended; a generation
 * that passed had its parties; nobody fails unless one died, gave up or reset the
 * barrier; who cannot get in does not give up a generation that is over; and when nothing moves any more nobody is parked
 * whose generation is over, nor anybody in a barrier that a party died in.
 *
 *   PASS -DROUNDS=1
 *   PASS -DN=2
 *   PASS -DN=2 -DKILLS=1 -DRESET
 *   PASS -DN=2 -DLEAD
 *   PASS -DROUNDS=1 -DKILLS=1 -DLEAD
 *   PASS -DROUNDS=1 -DKILLS=1 -DSTOP
 *   PASS -DN=2 -DGIVEUPS=2 -DSTOP
 *   PASS -DN=2 -DGIVEUPS=2 -DSTOP -DLEAD
 *   LONG PASS -DGIVEUPS=2 -DKILLS=1 -DROUNDS=1 -DLEAD -DSTOP
 *   FAIL -DN=2 -DNO_DOOM          the supervisor wakes only
 *   FAIL -DN=2 -DNO_RESCUE        it dooms, and wakes nobody
 *   FAIL -DN=2 -DDROP_DOOM        a generation that passes forgets that it was doomed
 *   FAIL -DBREAK_TWICE            a broken barrier is broken again, for the same death
 *   FAIL -DN=2 -DNO_OWNERDEAD     who gets the lock of a dead owner goes on like
 *                                 any other owner
 *   FAIL -DROUNDS=1 -DCOMMIT_FIRST  the generation ends before it is noted as failed
 *   FAIL -DN=2 -DWORD_FIRST       the word changes before the generation
 *   FAIL -DN=2 -DLOOK_EARLY       a waiter reads the generation before the word
 *   FAIL -DN=2 -DNO_SLEEPERS      a waiter parks without saying so
 *   FAIL -DN=2 -DNOTE_LATE        a party is counted before it has noted the barrier
 *   FAIL -DN=2 -DUNNOTE_EARLY     who ends a generation drops its note before it wakes
 *   FAIL -DN=2 -DSTOP -DKILLS=0 -DDOOM_QUIETLY  who gives up the lock wakes nobody
 *   FAIL -DN=2 -DSTOP -DKILLS=0 -DGO_QUIETLY    nor does it doom the barrier
 *   FAIL -DN=2 -DSTOP -DGIVEUPS=2 -DKILLS=0 -DLEAD -DTELL_WELL  a leader that gives up
 *                                 the lock says that all have passed
 *   FAIL -DN=2 -DSTOP -DGIVEUPS=2 -DKILLS=0 -DDOOM_ANY  who gives up the lock dooms the
 *                                 barrier whatever generation it is in
 *   FAIL -DN=2 -DSTOP -DGIVEUPS=2 -DKILLS=0 -DDOOM_BLINDLY  who gives up the lock does not
 *                                 look whether its generation is over
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
#define ROUNDS 2
#endif

#define FILLING 0
#define LEADING 1
#define BROKEN 2
#define SLEEPERS 1
#define DOOMED 2
#define WORD(g) ((g) * 4)

byte lock = 0;		/* who holds it */
byte word = WORD(1);
byte generation = 1, arrived, state, failed0, failed1;
bool blocked[5];	/* parked on the word */
bool noted[5];		/* journal */
bool died[5];		/* dead, not settled yet */
bool dead[5];
byte passed[12];	/* how many returned with an index */
bool broke[12];		/* somebody returned with a failure */
byte kills, giveups;
bool spoiled;		/* somebody died, gave up, or reset the barrier */

inline die()
{
	atomic { kills--; blocked[me] = 0; died[me] = 1; dead[me] = 1; spoiled = 1; goto over }
}

#if KILLS > 0
#define POINT if :: kills > 0 -> die() :: skip fi
#else
#define POINT skip
#endif

inline wake_all()
{
	atomic { blocked[1] = 0; blocked[2] = 0; blocked[3] = 0; blocked[4] = 0 }
}

/* The word of the next generation; `kept` of the old bits stay.  `wake` says
 * whether somebody may be parked. */
inline turn(kept)
{
	atomic { wake = wake | (word & SLEEPERS); word = WORD(generation) | (word & (kept)) }
}

inline break_it()
{
	if
#ifdef BREAK_TWICE
	:: true ->
#else
	:: state != BROKEN || failed0 == generation ->
#endif
#ifndef COMMIT_FIRST
		if
		:: failed0 != generation ->
			failed1 = failed0;
			POINT;
			failed0 = generation
		:: else
		fi;
		POINT;
#endif
		state = BROKEN;
#ifdef WORD_FIRST
		atomic { wake = wake | (word & SLEEPERS); word = WORD(generation + 1) };
		POINT;
#endif
		POINT;
		generation++;
		POINT
#ifdef COMMIT_FIRST
		;
		failed1 = failed0;
		failed0 = generation - 1;
		POINT
#endif
	:: else
	fi;
	arrived = 0;
	POINT;
	turn(0)
}

inline enter()
{
	if
	:: atomic { lock == 0 || dead[lock] -> late = (lock != 0); lock = me }
#ifdef STOP
	:: atomic { lock != 0 && !dead[lock] && giveups > 0 ->
		giveups--;
		outside = 1;
		late_by = (mine != 0 && generation != mine)
	}
#endif
	fi;
#ifdef NO_OWNERDEAD
	late = 0;
#endif
	if
	:: !outside && (late || (word & DOOMED)) -> break_it()
	:: else
	fi;
	late = 0
}

/* Who could not enter. */
inline doom()
{
#ifndef GO_QUIETLY
	word = word | DOOMED;
#endif
	POINT;
#if !defined(GO_QUIETLY) && !defined(DOOM_QUIETLY)
	wake_all();
#endif
	POINT
}

/* Who could not enter, and gives up generation `mine`; `outside` falls if that is
 * over. */
inline doom_only()
{
#ifdef DOOM_ANY
	doom();
	if :: generation != mine -> outside = 0 :: else fi
#else
	do
	:: true ->
		seen = word;
#ifndef DOOM_BLINDLY
		if :: generation != mine -> outside = 0; break :: else fi;
#endif
		atomic {
			if
			:: seen / 4 != mine -> outside = 0; break
			:: seen / 4 == mine && word == seen -> word = seen | DOOMED; spoiled = 1; break
			:: else
			fi
		}
	od;
	POINT;
	if :: outside -> wake_all() :: else fi;
	POINT
#endif
}

/* Leaves the lock, then wakes whom the end of a generation let go. */
inline leave()
{
	lock = 0;
#ifdef UNNOTE_EARLY
	noted[me] = 0;
#endif
	POINT;
	if :: wake -> wake_all() :: else fi;
	wake = 0
}

proctype Party(byte me)
{
	byte mine, seen, last, before, rounds = ROUNDS;
	bool late, wake, quit, outside, late_by;

again:
#ifndef NOTE_LATE
	noted[me] = 1;
#endif
	POINT;
	enter();
	if :: outside -> spoiled = 1; doom(); quit = 1; goto out :: else fi;
	if
	:: state == BROKEN -> mine = 0
#ifdef LEAD
	:: state == LEADING ->
		mine = generation;
		leave();
		generation != mine;
		POINT;
		mine = 0;
		goto again
#endif
	:: else ->
		mine = generation;
		arrived++;
		assert(arrived <= N);
		POINT;
		if
		:: arrived == N ->
#ifdef LEAD
			state = LEADING;
			POINT;
			leave();
			POINT;
			enter();
			if
			:: outside ->
				spoiled = 1;
				doom_only();
				atomic {
					quit = 1;
#ifdef TELL_WELL
					passed[mine]++;
#else
					broke[mine] = 1;
#endif
					assert(!(broke[mine] && passed[mine] > 0))
				};
				goto out
			:: else ->
				if
				:: generation != mine -> goto told
				:: else
				fi
			fi;
#endif
#ifdef WORD_FIRST
			atomic { wake = wake | (word & SLEEPERS); word = WORD(generation + 1) | (word & DOOMED) };
			POINT;
#endif
			generation++;
			POINT;
			atomic { arrived = 0; state = FILLING };
			POINT;
#ifdef DROP_DOOM
			turn(0)
#else
			turn(DOOMED)
#endif
		:: else
		fi
	fi;
told:	POINT;
	leave();
#ifdef NOTE_LATE
	POINT;
	noted[me] = 1;
#endif
	if :: mine == 0 -> quit = 1; goto out :: else fi;

look:	POINT;
#ifdef LOOK_EARLY
	if :: generation != mine -> goto judge :: else fi;
	seen = word;
#else
	seen = word;
	if :: generation != mine -> goto judge :: else fi;
#endif
	if
	:: seen & DOOMED ->
fix:		enter();
		if
		:: outside ->
			if
			:: quit ->
				doom_only();
				if
				:: outside -> assert(!late_by); spoiled = 1; goto out
				:: else -> quit = 0; goto judge
				fi
			:: else -> outside = 0; goto look /* it looks by the clock */
			fi
		:: !outside && quit && generation == mine && state == FILLING ->
			spoiled = 1;
			break_it()
		:: else
		fi;
		leave();
		quit = 0;
		goto look
	:: else
	fi;
#ifndef NO_SLEEPERS
	atomic {
		if
		:: word == seen -> word = seen | SLEEPERS; seen = seen | SLEEPERS
		:: else -> goto look
		fi
	};
	POINT;
#endif
	atomic { if :: word == seen -> blocked[me] = 1 :: else fi };
end_parked:
	if
	:: atomic { !blocked[me] -> skip }
	:: atomic { blocked[me] && giveups > 0 -> giveups--; blocked[me] = 0; quit = 1; goto fix }
	:: kills > 0 -> die()
	fi;
	goto look;

judge:
	last = failed0;
	before = failed1;
	atomic {
		if
		:: last < mine || (last != mine && before < mine) ->
			passed[mine]++
		:: else ->
			/* Who slept through two later failures is told of them. */
#ifdef RESET
			if :: last == mine || before == mine -> broke[mine] = 1 :: else fi;
#else
			broke[mine] = 1;
#endif
			quit = 1;
			assert(spoiled)
		fi;
		assert(!(broke[mine] && passed[mine] > 0));
		mine = 0; seen = 0; last = 0; before = 0
	};
out:	POINT;
	noted[me] = 0;
	atomic { rounds--; if :: rounds > 0 && !quit -> goto again :: else fi };
over:	atomic {
		mine = 0; seen = 0; last = 0; before = 0; late = 0; wake = 0; quit = 0; rounds = 0;
		outside = 0; late_by = 0
	}
}

#ifdef RESET
proctype Resetter(byte me)
{
	byte seen, mine;
	bool late, wake, quit, outside, late_by;

	spoiled = 1;
	noted[me] = 1;
	enter();
	if
	:: arrived > 0 -> break_it()
	:: else
	fi;
	state = FILLING;
	turn(0);
	leave();
	noted[me] = 0;
over:	skip
}
#endif

inline settle(who)
{
	atomic {
		if
		:: noted[who] ->
#ifndef NO_DOOM
			word = word | DOOMED;
#endif
#ifndef NO_RESCUE
			blocked[1] = 0; blocked[2] = 0; blocked[3] = 0; blocked[4] = 0
#endif
		:: else
		fi;
		noted[who] = 0;
		died[who] = 0
	}
}

proctype Supervisor()
{
end:	do
	:: died[1] -> settle(1)
	:: died[2] -> settle(2)
	:: died[3] -> settle(3)
	:: died[4] -> settle(4)
	:: timeout ->
		assert(!(blocked[1] || blocked[2] || blocked[3] || blocked[4])
#ifdef RESET
		       || (state != BROKEN && !(word & DOOMED) && arrived > 0)
#endif
		);
		break
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
		do :: i <= N -> run Party(i); i++ :: else -> break od;
#ifdef RESET
		run Resetter(4)
#endif
	}
}
