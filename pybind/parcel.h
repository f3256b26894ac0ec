/* SPDX-License-Identifier: MIT */
/*
 * Parcels: Python objects as bytes on their way to another process.
 *
 * What is small and plain (None, bool, int, float, str, bytes, tuples of them, and
 * at most one list or dict) is written as tagged words; everything else is a
 * pickle, whose large buffers lie behind it, to be used where they are.  A parcel
 * starts in the struct, and moves to an arena block when it gets larger.
 *
 *   tag  follows                                stands for
 *   N T F                                       None, True, False
 *   b    int8                                   int
 *   q    int64                                  int
 *   d    double                                 float
 *   s    kind u8, length u32, the characters    str
 *   y    length u64, the bytes                  bytes
 *   (    count u32, the items                   tuple
 *   [    count u32, the items                   list
 *   {    count u32, key, value, ...             dict
 *   Q    container u8, count u32, int64s        tuple or list of int
 *   D    container u8, count u32, doubles       tuple or list of float
 *   r    first, step, count: int64              tuple of int
 *   p    length u64, a pickle                   anything
 *   P    struct core_crate, a pickle, buffers   anything
 */
#ifndef FT_PYBIND_PARCEL_H
#define FT_PYBIND_PARCEL_H

#include "cargo.h"

#define CORE_PARCEL_SMALL 512u

struct core_parcel {
	unsigned char *data; /* `small`, or the block */
	size_t size, room;
	void *block;	      /* ours, or NULL */
	unsigned text, large; /* what tags were used for: see parcel.c */
	unsigned mutables, depth;
	struct core_cargo cargo; /* what its pickles refer to */
	unsigned char small[CORE_PARCEL_SMALL];
};

void core_parcel_init(struct core_parcel *parcel);
/* Frees the block, unless somebody took it (sets block to NULL). */
void core_parcel_clear(struct core_parcel *parcel);

/* All of these: 0, or -1 with an exception. */
int core_parcel_put(struct core_parcel *parcel, const void *data, size_t size);
/* Room for that much more, so that the data stay where they are. */
int core_parcel_reserve(struct core_parcel *parcel, size_t more);
/* Any object; what pickle raises. */
int core_parcel_object(struct core_state *state, struct core_parcel *parcel, PyObject *object);
/* A pickle that was made elsewhere: bytes or any buffer. */
int core_parcel_pickle(struct core_parcel *parcel, PyObject *pickle);
/* count > 0 ints. */
int core_parcel_range(struct core_parcel *parcel, int64_t first, int64_t step, int64_t count);

/* Before it is sent: the parcel carries what its pickles refer to. */
int core_parcel_seal(struct core_parcel *parcel);

/* A parcel that has arrived. */
struct core_delivery {
	const unsigned char *start; /* of all of it */
	const unsigned char *data;  /* moves on as objects are taken */
	size_t size;		    /* what is left from data on */
	/* Makes the block that starts at `start` the caller's, to be freed with
	 * ft_block_free; NULL if it can't be had: then buffers are copied. */
	void *(*take)(void *ctx);
	void *ctx;
	int ranges; /* those may come: a few bytes that stand for any number of items */
};

/* The next object, or NULL with what unpickling raised, or ValueError. */
PyObject *core_delivery_object(struct core_state *state, struct core_delivery *delivery);

#endif
