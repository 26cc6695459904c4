import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.TooLongFrameException;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.websocketx.BinaryWebSocketFrame;
import io.netty.handler.codec.http.websocketx.CloseWebSocketFrame;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketDecoderConfig;
import io.netty.handler.codec.http.websocketx.WebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketFrameAggregator;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolConfig;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolHandler;
import io.netty.util.NetUtil;
import io.netty.util.ReferenceCountUtil;
import io.netty.util.concurrent.GlobalEventExecutor;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A WebSocket echo server on Netty: event loops on NIO, handlers inline. */
public final class Server {
  /** The largest opening request, in bytes. */
  private static final int MAX_REQUEST = 8 << 10;

  /** The largest payload of a control frame, in bytes: Netty holds these to its limit too. */
  private static final int MOST_CONTROL = 125;

  /** How much may wait for a peer that does not read when messages go to all, in bytes. */
  private static final int MOST_WAITING = 1 << 20;

  private static final AtomicLong connections = new AtomicLong();

  /** The connections that messages go to, or null unless they go to all. */
  private ChannelGroup members;

  private final List<InetSocketAddress> addresses = new ArrayList<>();
  private int maxMessage = 64 << 10;
  private int backlog = 4096;
  private int loops = 1;
  private int workMicros = 0;

  public static void main(String[] words) throws Exception {
    sun.misc.Signal.handle(new sun.misc.Signal("TERM"), signal -> Runtime.getRuntime().halt(0));
    Server server = new Server();
    server.readOptions(words);
    server.listen();
    answerQuestions();
  }

  // Arguments.

  private void readOptions(String[] words) {
    for (int i = 0; i < words.length; i += 2) {
      if (i + 1 == words.length) usage(words[i] + " has no value");
      String value = words[i + 1];
      switch (words[i]) {
        case "--listen": readAddresses(value); break;
        case "--max-message": maxMessage = number(words[i], value, 1); break;
        case "--backlog": backlog = number(words[i], value, 1); break;
        case "--loops": loops = number(words[i], value, 1); break;
        case "--work": workMicros = number(words[i], value, 0); break;
        case "--class":
          if (!value.equals("default") && !value.equals("tuned")) usage("--class is not default or tuned: \"" + value + "\"");
          break;
        case "--broadcast":
          if (!value.equals("all")) usage("--broadcast is not all: \"" + value + "\"");
          members = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);
          break;
        default: usage("unknown argument \"" + words[i] + "\"");
      }
    }
    if (addresses.isEmpty()) usage("--listen names no address");
  }

  private void readAddresses(String list) {
    Pattern form = Pattern.compile("(?:\\[([0-9a-fA-F:.]+)\\]|([0-9.]*)):([0-9]+)");
    for (String text : list.split(",", -1)) {
      Matcher parts = form.matcher(text);
      if (!parts.matches()) usage("--listen is not a list of HOST:PORT: \"" + text + "\"");
      String host = parts.group(1) != null ? parts.group(1) : parts.group(2).isEmpty() ? "0.0.0.0" : parts.group(2);
      addresses.add(new InetSocketAddress(host, number("--listen", parts.group(3), 0)));
    }
  }

  private static int number(String name, String text, int least) {
    try {
      int n = Integer.parseInt(text);
      if (n >= least) return n;
    } catch (NumberFormatException e) {
      // said below
    }
    usage(name + " is not a number: \"" + text + "\"");
    return 0;
  }

  private static void usage(String message) {
    System.err.println("netty: " + message);
    Runtime.getRuntime().halt(2);
  }

  // Connections.

  private void listen() throws InterruptedException {
    EventLoopGroup acceptors = new NioEventLoopGroup(1);
    ServerBootstrap bootstrap = new ServerBootstrap()
        .group(acceptors, new NioEventLoopGroup(loops))
        .channel(NioServerSocketChannel.class)
        .option(ChannelOption.SO_BACKLOG, backlog)
        .option(ChannelOption.SO_REUSEADDR, true)
        .childOption(ChannelOption.TCP_NODELAY, true)
        .childHandler(new ChannelInitializer<SocketChannel>() {
          @Override
          protected void initChannel(SocketChannel channel) {
            channel.pipeline().addLast(
                new HttpServerCodec(MAX_REQUEST, MAX_REQUEST, MAX_REQUEST),
                new HttpObjectAggregator(MAX_REQUEST),
                new Opening(),
                new WebSocketServerProtocolHandler(protocol()),
                new WebSocketFrameAggregator(maxMessage),
                new Echo());
          }
        });
    StringBuilder names = new StringBuilder();
    for (InetSocketAddress address : addresses) {
      try {
        InetSocketAddress bound = (InetSocketAddress) bootstrap.bind(address).sync().channel().localAddress();
        String host = NetUtil.toAddressString(bound.getAddress());
        names.append(names.length() == 0 ? "" : ", ").append('"').append(host.contains(":") ? "[" + host + "]" : host).append(':').append(bound.getPort()).append('"');
      } catch (Exception e) {
        System.err.println("netty: listen on " + address.getHostString() + ":" + address.getPort() + ": " + e.getMessage());
        Runtime.getRuntime().halt(1);
      }
    }
    System.out.println("{\"ready\": true, \"addresses\": [" + names + "]}");
  }

  private WebSocketServerProtocolConfig protocol() {
    return WebSocketServerProtocolConfig.newBuilder()
        .websocketPath("/")
        .sendCloseFrame(null) // or a second one would follow that of a violation
        .decoderConfig(WebSocketDecoderConfig.newBuilder().maxFramePayloadLength(Math.max(maxMessage, MOST_CONTROL)).build())
        .build();
  }

  /** Refuses requests that Netty would take though it must not. */
  private static final class Opening extends ChannelInboundHandlerAdapter {
    @Override
    public void channelRead(ChannelHandlerContext context, Object message) {
      if (!(message instanceof FullHttpRequest)) {
        context.fireChannelRead(message);
        return;
      }
      FullHttpRequest request = (FullHttpRequest) message;
      HttpResponseStatus status = judge(request);
      if (status == null) {
        request.setUri("/"); // any path, and a whole URI, which Netty does not take
        context.pipeline().remove(this);
        context.fireChannelRead(message);
        return;
      }
      ReferenceCountUtil.release(message);
      DefaultFullHttpResponse response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, status, Unpooled.EMPTY_BUFFER);
      response.headers().set(HttpHeaderNames.CONTENT_LENGTH, 0).set(HttpHeaderNames.CONNECTION, "close");
      if (status.equals(HttpResponseStatus.UPGRADE_REQUIRED)) response.headers().set(HttpHeaderNames.SEC_WEBSOCKET_VERSION, "13");
      context.writeAndFlush(response).addListener(ChannelFutureListener.CLOSE);
    }

    private static HttpResponseStatus judge(FullHttpRequest request) {
      HttpHeaders headers = request.headers();
      boolean version = request.protocolVersion().majorVersion() == 1 && request.protocolVersion().minorVersion() >= 1;
      if (request.decoderResult().isFailure() || !version || !request.method().equals(HttpMethod.GET)) return HttpResponseStatus.BAD_REQUEST;
      if (headers.getAll(HttpHeaderNames.HOST).size() != 1 || !headers.get(HttpHeaderNames.HOST).matches("[-A-Za-z0-9._~%!$&'()*+,;=:\\[\\]]*")) return HttpResponseStatus.BAD_REQUEST;
      if (request.content().isReadable() || headers.contains(HttpHeaderNames.TRANSFER_ENCODING)) return HttpResponseStatus.REQUEST_ENTITY_TOO_LARGE;
      if (!headers.containsValue(HttpHeaderNames.CONNECTION, "upgrade", true) || !headers.containsValue(HttpHeaderNames.UPGRADE, "websocket", true)) return HttpResponseStatus.BAD_REQUEST;
      if (!"13".equals(headers.get(HttpHeaderNames.SEC_WEBSOCKET_VERSION))) return HttpResponseStatus.UPGRADE_REQUIRED;
      List<String> keys = headers.getAll(HttpHeaderNames.SEC_WEBSOCKET_KEY);
      return keys.size() == 1 && isKey(keys.get(0)) ? null : HttpResponseStatus.BAD_REQUEST;
    }

    /** True for 16 bytes in base64 (RFC 6455 section 4.1). */
    private static boolean isKey(String text) {
      try {
        return text.length() == 24 && Base64.getDecoder().decode(text).length == 16;
      } catch (IllegalArgumentException e) {
        return false;
      }
    }
  }

  /** Echoes messages. A peer that does not read is not read from. */
  private final class Echo extends ChannelInboundHandlerAdapter {
    @Override
    public void channelRead(ChannelHandlerContext context, Object message) {
      if (message instanceof TextWebSocketFrame || message instanceof BinaryWebSocketFrame) {
        if (((WebSocketFrame) message).content().readableBytes() > maxMessage) {
          ReferenceCountUtil.release(message);
          tooBig(context);
          return;
        }
        useCPU();
        if (members != null) {
          members.writeAndFlush(message, this::keepsUp, true); // which duplicates and releases it
        } else {
          context.write(message);
        }
      } else {
        ReferenceCountUtil.release(message);
      }
    }

    /** Drops a peer for which too much waits. */
    private boolean keepsUp(Channel channel) {
      if (channel.bytesBeforeWritable() <= MOST_WAITING) return true;
      channel.close();
      return false;
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext context) {
      context.flush();
    }

    @Override
    public void channelWritabilityChanged(ChannelHandlerContext context) {
      context.channel().config().setAutoRead(context.channel().isWritable());
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext context, Object event) {
      if (event instanceof WebSocketServerProtocolHandler.HandshakeComplete) {
        if (members != null) members.add(context.channel());
        connections.incrementAndGet();
        context.channel().closeFuture().addListener(closed -> connections.decrementAndGet());
      }
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
      if (cause instanceof TooLongFrameException) {
        tooBig(context);
      } else {
        context.close();
      }
    }

    private void tooBig(ChannelHandlerContext context) {
      context.writeAndFlush(new CloseWebSocketFrame(1009, "")).addListener(ChannelFutureListener.CLOSE);
    }
  }

  /** Uses up CPU time of this thread. */
  private void useCPU() {
    if (workMicros == 0) return;
    long until = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() + workMicros * 1000L;
    while (ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() < until) Thread.onSpinWait();
  }

  // Questions.

  private static void answerQuestions() throws Exception {
    BufferedReader questions = new BufferedReader(new InputStreamReader(System.in));
    for (String question; (question = questions.readLine()) != null; ) {
      switch (question.trim()) {
        case "settle":
          System.gc();
          answer(", \"heap_live_bytes\": " + heapBytes());
          break;
        case "stats":
          answer("");
          break;
        default:
          System.err.println("netty: unknown question \"" + question + "\"");
      }
    }
    Runtime.getRuntime().halt(0);
  }

  private static long heapBytes() {
    return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
  }

  private static void answer(String more) {
    long cycles = ManagementFactory.getGarbageCollectorMXBeans().stream().mapToLong(bean -> Math.max(0, bean.getCollectionCount())).sum();
    System.out.println("{\"connections\": " + connections.get() + ", \"heap_in_use_bytes\": " + heapBytes() + ", \"gc_cycles\": " + cycles + more + "}");
  }
}
