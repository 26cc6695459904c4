// Event loops on epoll, which accept connections and serve them.
//
// A connection belongs to the loop with the number descriptor mod loops; any loop accepts.
#ifndef LOOP_H
#define LOOP_H

#include "contract.h"

// make_loops makes as many loops as the options say, on the sockets that listen_on gave.
void make_loops(const struct options *, const int listeners[]);

// run_loop runs a loop, from 0 on, in the calling thread.
_Noreturn void run_loop(int number);

// ask_loop has the first loop call answer whenever fd can be read.
void ask_loop(int fd, void (*answer)(int fd));

#endif
