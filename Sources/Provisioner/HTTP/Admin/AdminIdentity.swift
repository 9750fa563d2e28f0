import Glibc
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Who a request over the control socket is from: whoever may open the socket's file may do everything, and the
/// kernel says who it is (unix(7), SO_PEERCRED).
final class SocketIdentity: Sendable {
  private let names = Mutex<[UInt32: String]>([:])

  /// `struct ucred`, which is GNU's and hidden from Swift.
  private struct Credentials: Sendable {
    var process: Int32 = 0
    var user: UInt32 = 0
    var group: UInt32 = 0
  }

  func caller(_ context: AdminContext) async -> AdminCaller {
    guard let socket = context.channel as? any SocketOptionProvider,
      let credentials: Credentials = try? await socket.unsafeGetSocketOption(
        level: .init(SOL_SOCKET), name: .init(SO_PEERCRED)
      ).get()
    else { return AdminCaller(name: "somebody on this machine", role: .admin) }
    return AdminCaller(name: await name(of: credentials.user), role: .admin)
  }

  /// The name service may be slow: it is asked once for each user, and away from everything else.
  private func name(of user: UInt32) async -> String {
    if let known = names.withLock({ $0[user] }) { return known }
    let name = (try? await NIOThreadPool.singleton.runIfActive { Self.userName(user) }) ?? "uid \(user)"
    names.withLock { names in
      if names.count >= 1024 { names = [:] }
      names[user] = name
    }
    return name
  }

  /// `root`; `uid 1000` where the system has no name for it.
  static func userName(_ user: UInt32) -> String {
    var entry = passwd()
    var result: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 16384)
    guard getpwuid_r(user, &entry, &buffer, buffer.count, &result) == 0, result != nil, let name = entry.pw_name else {
      return "uid \(user)"
    }
    return String(cString: name)
  }
}

/// Who a request over TCP is from: its token says so (RFC 6750, section 2.1).
final class TokenIdentity: Sendable {
  private let appliance: Appliance
  private let logger: Logger
  private let failures = FailedAttempts()

  init(_ appliance: Appliance, logger: Logger) {
    self.appliance = appliance
    self.logger = logger
  }

  /// - Throws: `ApplianceError` with code `unauthorized`, or `tooMany` for who keeps guessing.
  func caller(_ request: Request, _ context: AdminContext) throws -> AdminCaller {
    let now = Timestamp.now
    let reason: String
    switch Self.token(request) {
    case nil:
      reason = "no token came with the request"
    case let text?:
      if let token = appliance.token(text) {
        guard let expires = token.expires, expires <= now else {
          return AdminCaller(name: "token \(token.name)", role: token.role)
        }
        reason = "the token \(token.name) has expired"
      } else {
        reason = "the token is unknown"
      }
    }
    let address = context.channel?.remoteAddress?.ipAddress ?? "unknown"
    switch failures.note(address, now: now) {
    case .first: logger.warning("A request to the admin API from \(address) was refused: \(reason).")
    case .last:
      logger.warning(
        """
        Requests to the admin API from \(address) were refused \(FailedAttempts.limit) times within a minute; the next \
        ones of this minute are not written down.
        """)
    case .between: break
    case .over:
      throw ApplianceError(.tooMany, "Too many requests without a valid token from \(address). Wait a minute.")
    }
    throw ApplianceError(
      .unauthorized,
      "Not allowed: \(reason). Send 'Authorization: Bearer TOKEN'; perseid token create NAME --role read makes one.")
  }

  private static func token(_ request: Request) -> String? {
    guard let field = request.headers[.authorization], field.utf8.count <= 1024 else { return nil }
    let words = field.split(separator: " ", omittingEmptySubsequences: true)
    guard words.count == 2, words[0].lowercased() == "bearer" else { return nil }
    return String(words[1])
  }
}

/// Counts refused requests by the address they came from, minute by minute.
final class FailedAttempts: Sendable {
  enum Count: Hashable, Sendable {
    case first
    case between
    case last
    case over
  }

  /// Of one address in a minute, before it is told to wait.
  static let limit = 20
  /// Addresses that are counted each by itself; all others of a minute are counted as one.
  private static let addressLimit = 1024

  private let state = Mutex<(minute: Int64, counts: [String: Int])>((0, [:]))

  func note(_ address: String, now: Timestamp) -> Count {
    state.withLock { state in
      let minute = now.milliseconds / 60_000
      if state.minute != minute { state = (minute, [:]) }
      let key = state.counts[address] != nil || state.counts.count < Self.addressLimit ? address : "others"
      let count = state.counts[key, default: 0] + 1
      state.counts[key] = count
      return count > Self.limit ? .over : count == Self.limit ? .last : count == 1 ? .first : .between
    }
  }
}
