/* SPDX-License-Identifier: MIT */
/*
 * Large blocks: the words of lib/mem/span.h, whose owners are killed at any step.
 *
 * WORKERS processes allocate, each ROUNDS times, a run of two of three spans, and
 * free it; KILLS of them die at any step.  The supervisor sweeps for each: blocks,
 * then spans (lib/mem/sweep.c), one word at a time, while the others go on.
 *
 * Checked: a span is one process's at a time; no handle comes twice; a block that
 * somebody has is never taken apart; in the end, everything is FREE.
 *
 *   PASS
 *   LONG PASS -DWORKERS=3 -DROUNDS=1
 * Mutants.  A run is committed before its block's word is written; its head is freed
 * before its RESTs; it is taken apart without a CLAIM; a freed span keeps its
 * generation; the sweeper frees heads before RESTs; it frees RESTs whose head is in
 * anybody's CLAIM; it does not look at runs whose block is FREE
 *   FAIL -DWORD_LATE
 *   FAIL -DHEAD_FIRST
 *   FAIL -DNO_CLAIM
 *   FAIL -DSAME_GENERATION
 *   FAIL -DHEADS_FIRST
 *   FAIL -DANY_CLAIM
 *   FAIL -DLEAVE_FREED
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

#define SPANS 3
#define LENGTH 2
#define SWEEPER (WORKERS + 1)

mtype = { FREE, CLAIM, RUN, REST, OWNED };

/* A span's word, and that of the block which starts there. */
mtype span[SPANS] = FREE;
byte operand[SPANS], generation[SPANS];
mtype block[SPANS] = FREE;
byte owner[SPANS];

byte user[SPANS];		/* who may touch the memory */
bool handle[SPANS];		/* this generation was a block's */
bool died[WORKERS + 1];
byte ended;
byte kills = KILLS;

#define STEP \
	if \
	:: atomic { kills > 0 && me != SWEEPER -> kills--; goto dead } \
	:: true \
	fi

#ifdef SAME_GENERATION
#define NEXT(i) skip
#else
#define NEXT(i) generation[i]++; handle[i] = false
#endif

/* In an atomic. */
#define SET_FREE(i) span[i] = FREE; operand[i] = 0; NEXT(i)

inline free_rest(at)
{
	atomic {
		if
		:: span[at + 1] == REST && operand[at + 1] == at -> SET_FREE(at + 1)
		:: else
		fi
	}
}

/* ft__span_unrun: the word was RUN with generation g when the caller looked. */
inline unrun(at, g)
{
#ifdef NO_CLAIM
	if
	:: span[at] == RUN && generation[at] == g;
#else
	if
	:: atomic {
		span[at] == RUN && generation[at] == g -> span[at] = CLAIM; operand[at] = me
	   };
#endif
#ifdef HEAD_FIRST
		STEP;
		atomic { SET_FREE(at) };
		STEP;
		free_rest(at);
#else
		STEP;
		free_rest(at);
		STEP;
		atomic { SET_FREE(at) };
#endif
	:: else
	fi
}

inline claim(i)
{
	atomic {
		if
		:: span[i] == FREE ->
			span[i] = CLAIM; operand[i] = me; got = true;
			assert(user[i] == 0);
			user[i] = me
		:: else -> got = false
		fi
	}
}

inline write_word()
{
	atomic {
		block[at] = OWNED; owner[at] = me;
		assert(!handle[at]);
		handle[at] = true
	}
}

inline commit()
{
	atomic { span[at] = RUN; operand[at] = LENGTH }
}

inline write_rest()
{
	atomic { span[at + 1] = REST; operand[at + 1] = at }
}

proctype Worker(byte me)
{
	byte at, g, rounds;
	bool got;

	do
	:: rounds < ROUNDS ->
		rounds++;
		if
		:: at = 0
		:: at = 1
		fi;
		STEP;
		claim(at);
		if
		:: !got -> goto next
		:: else
		fi;
		STEP;
		claim(at + 1);
		if
		:: !got ->
			/* As it was: nothing was written to it. */
			atomic { user[at] = 0; span[at] = FREE; operand[at] = 0 };
			goto next
		:: else
		fi;
		STEP;
#ifdef WORD_LATE
		write_rest();
		STEP;
		commit();
		STEP;
		write_word();
#else
		write_rest();
		STEP;
		write_word();
		STEP;
		commit();
#endif
		STEP;
		/* It is ours, whatever the others do. */
		assert(span[at] == RUN && block[at] == OWNED && owner[at] == me);
		assert(span[at + 1] == REST && user[at] == me && user[at + 1] == me);
		STEP;
		atomic {
			g = generation[at];
			user[at] = 0; user[at + 1] = 0;
			block[at] = FREE; owner[at] = 0
		};
		STEP;
		unrun(at, g);
next:		at = 0; g = 0; got = false
	:: else -> break
	od;
	atomic { rounds = 0; ended++ };
	goto out;
dead:
	atomic { died[me] = true; at = 0; g = 0; got = false; rounds = 0 };
out:
	skip
}

/* The dead one's, or free: its run may go.  Looks, then a CAS of what it saw. */
inline settle()
{
	atomic { free = false; seen = block[i] == OWNED && owner[i] == d };
#ifndef LEAVE_FREED
	free = block[i] == FREE;
#endif
	if
	:: atomic {
		seen && block[i] == OWNED && owner[i] == d ->
			block[i] = FREE; owner[i] = 0; free = true;
			assert(user[i] == d && user[i + 1] == d);
			user[i] = 0; user[i + 1] = 0
	   }
	:: else
	fi;
	seen = false
}

inline sweep_blocks()
{
	i = 0;
	do
	:: i < SPANS - 1 ->
		atomic { g = generation[i]; so = span[i] == RUN };
		if
		:: so ->
			settle();
			if
			:: free -> unrun(i, g)
			:: else
			fi
		:: else
		fi;
		i++
	:: else -> break
	od
}

#ifdef ANY_CLAIM
#define HIS(h) (span[h] == CLAIM)
#else
#define HIS(h) (span[h] == CLAIM && operand[h] == d)
#endif

/* Looks at it, then at its head, then a CAS of what it saw. */
inline sweep_rests()
{
	i = 0;
	do
	:: i < SPANS ->
		atomic { g = generation[i]; so = span[i] == REST; head = operand[i] };
		if
		:: so && HIS(head) ->
			atomic {
				if
				:: span[i] == REST && operand[i] == head && generation[i] == g ->
					assert(user[i] == 0 || user[i] == d);
					user[i] = 0;
					SET_FREE(i)
				:: else
				fi
			}
		:: else
		fi;
		i++
	:: else -> break
	od
}

inline sweep_claims()
{
	i = 0;
	do
	:: i < SPANS ->
		atomic {
			if
			:: span[i] == CLAIM && operand[i] == d ->
				assert(user[i] == 0 || user[i] == d);
				user[i] = 0;
				SET_FREE(i)
			:: else
			fi
		};
		i++
	:: else -> break
	od
}

#if WORKERS == 2
#define ANY_DIED (died[1] || died[2])
#else
#define ANY_DIED (died[1] || died[2] || died[3])
#endif

proctype Supervisor(byte me)
{
	byte d, i, g, head;
	bool so, seen, free;

	do
	:: atomic { ANY_DIED -> d = 1; do :: !died[d] -> d++ :: else -> break od };
		sweep_blocks();
#ifdef HEADS_FIRST
		sweep_claims();
		sweep_rests();
#else
		sweep_rests();
		sweep_claims();
#endif
		atomic { died[d] = false; ended++; d = 0; i = 0; g = 0; head = 0; so = false;
			 free = false }
	:: atomic { ended == WORKERS ->
		for (i : 0 .. SPANS - 1) {
			assert(span[i] == FREE && user[i] == 0)
		}
		break }
	od;
	skip;
dead:	skip
}

init {
	byte i = 1;

	atomic {
		run Supervisor(SWEEPER);
		do
		:: i <= WORKERS -> run Worker(i); i++
		:: else -> break
		od
	}
}
