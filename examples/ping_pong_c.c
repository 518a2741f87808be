/* Ping-pong in C: the calls of <dvk/dvk.h>. Speaks with the C++ example of the same name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dvk/dvk.h>

static int give_up(const char* what) {
  fprintf(stderr, "ping_pong_c: %s: %s\n", what, dvk_last_error());
  return 1;
}

static int serve(const char* name) {
  static char buffer[DVK_MESSAGE_BYTES_MAX];
  static char answer[DVK_MESSAGE_BYTES_MAX];
  dvk_endpoint* endpoint = NULL;
  dvk_incoming request;
  if (dvk_open(NULL, name, 0, 10000, &endpoint) < 0) return give_up("open");
  printf("serving \"%s\" on node %d\n", name, dvk_node(endpoint));
  fflush(stdout);
  while (dvk_receive_request(endpoint, buffer, sizeof buffer, -1, &request) == 0) {
    const int length = snprintf(answer, sizeof answer, "pong %.*s", (int)request.bytes, buffer);
    if (dvk_reply(endpoint, &request, answer, (size_t)length) < 0) break;
  }
  dvk_close(endpoint);
  return give_up("serve");
}

static int call_server(dvk_endpoint* endpoint, const char* name, int count) {
  char ping[16];
  char pong[64];
  dvk_address server;
  if (dvk_lookup(endpoint, name, 10000, &server) < 0) return give_up("lookup");
  for (int number = 1; number <= count; ++number) {
    const int length = snprintf(ping, sizeof ping, "%d", number);
    const int64_t bytes =
        dvk_call(endpoint, &server, ping, (size_t)length, pong, sizeof pong, 5000);
    if (bytes < 0) return give_up("call");
    printf("node %d: ping %s -> %.*s\n", dvk_node(endpoint), ping, (int)bytes, pong);
  }
  return 0;
}

static int usage(void) {
  fputs(
      "usage: ping_pong_c serve NAME          answer calls until interrupted\n"
      "       ping_pong_c call NAME [COUNT]   call NAME, once or COUNT times\n"
      "The node is that of the daemon whose socket $DVK_SOCKET names.\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage.\n",
      stderr);
  return 2;
}

int main(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "";
  if (strcmp(mode, "serve") == 0 && argc == 3) return serve(argv[2]);
  if (strcmp(mode, "call") != 0 || argc < 3 || argc > 4) return usage();
  const int count = argc == 4 ? atoi(argv[3]) : 1;
  if (count <= 0) return usage();

  dvk_endpoint* endpoint = NULL;
  if (dvk_open(NULL, NULL, 0, 10000, &endpoint) < 0) return give_up("open");
  const int exit_code = call_server(endpoint, argv[2], count);
  dvk_close(endpoint);
  return exit_code;
}
