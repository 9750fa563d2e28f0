import Hummingbird
import Logging
import NIOCore

/// Where a request came in: over a connection, or from a verb in its own process.
struct AdminContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  /// The connection; `nil` within the process.
  let channel: (any Channel)?

  init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }

  init(logger: Logger) {
    coreContext = CoreRequestContextStorage(source: LocalSource(logger: logger))
    channel = nil
  }

  var isLocal: Bool { channel == nil }

  private struct LocalSource: RequestContextSource {
    var logger: Logger
  }
}
