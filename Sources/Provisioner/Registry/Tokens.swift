import Crypto

/// What lets somebody use the admin API over TCP. The token itself is kept nowhere: only its SHA-256, which cannot be
/// turned back, since a token is 256 random bits.
package struct TokenRecord: Hashable, Sendable, Codable {
  package var name: String
  package var role: AdminRole
  /// 64 hexadecimal digits.
  package var sha256: String
  package var created: Timestamp
  /// It is refused from then on; `nil` for never.
  package var expires: Timestamp?
}

/// A token as `token list` shows it.
package struct TokenView: Hashable, Sendable, Codable {
  package var name: String
  package var role: AdminRole
  package var created: Timestamp
  @OrNull package var expires: Timestamp?
  package var isExpired: Bool
}

/// What `token create` is answered: the only time that the token itself is shown.
package struct CreatedTokenView: Hashable, Sendable, Codable {
  package var name: String
  package var role: AdminRole
  @OrNull package var expires: Timestamp?
  package var token: String
}

/// The body of `POST tokens`.
package struct CreateToken: Hashable, Sendable, Codable {
  package var name: String
  package var role: AdminRole
  package var expires: Timestamp?

  package init(name: String, role: AdminRole, expires: Timestamp? = nil) {
    self.name = name
    self.role = role
    self.expires = expires
  }
}

extension Appliance {
  /// Tokens there can be: each request is compared with all of them.
  static let tokenLimit = 256
  private static let tokenPrefix = "perseid_"

  package func tokens(now: Timestamp = .now) -> [TokenView] {
    registry.read { $0.tokens.values.sorted { $0.name < $1.name } }.map { Self.view($0, now) }
  }

  private static func view(_ token: TokenRecord, _ now: Timestamp) -> TokenView {
    TokenView(
      name: token.name, role: token.role, created: token.created, expires: token.expires,
      isExpired: token.expires.map { $0 <= now } ?? false)
  }

  package func createToken(_ request: CreateToken, now: Timestamp = .now) async throws -> CreatedTokenView {
    guard NodeName.isValidLabel(request.name) else { throw NodeKeys.invalid("name", request.name, NodeKeys.label) }
    if let expires = request.expires, expires <= now {
      throw NodeKeys.invalid("expires", "\(expires)", "a time to come, as RFC 3339 has it")
    }
    var generator = SystemRandomNumberGenerator()
    let secret = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    let token = Self.tokenPrefix + MachineIdentity.hexadecimal(secret, separator: "")
    let record = TokenRecord(
      name: request.name, role: request.role,
      sha256: MachineIdentity.hexadecimal(Self.digest(token), separator: ""), created: now, expires: request.expires)
    try await registry.update { view in
      guard view.tokens[request.name] == nil else {
        throw ApplianceError(
          .conflict, "There is a token \(request.name) already. Choose another name, or delete that one first.")
      }
      guard view.tokens.count < Self.tokenLimit else {
        throw ApplianceError(.refused, "There are \(Self.tokenLimit) tokens, which is the most. Delete some first.")
      }
      return ([try .put(RecordKey.token + record.name, record)], ())
    }
    return CreatedTokenView(name: record.name, role: record.role, expires: record.expires, token: token)
  }

  package func deleteToken(_ name: String, now: Timestamp = .now) async throws -> TokenView {
    try await registry.update { view in
      guard let token = view.tokens[name] else {
        throw ApplianceError(.notFound, "There is no token '\(name)'. perseid token list shows those there are.")
      }
      return ([.delete(RecordKey.token + name)], Self.view(token, now))
    }
  }

  /// The token of this text. It is compared with all of them, each to its end, so that how long it takes says nothing.
  func token(_ text: String) -> TokenRecord? {
    let digest = Self.digest(text)
    return registry.read { view in
      var found: TokenRecord?
      for token in view.tokens.values {
        let bytes = MachineIdentity.bytes(hexadecimal: token.sha256) ?? []
        guard bytes.count == digest.count else { continue }
        var difference: UInt8 = 0
        for (one, other) in zip(bytes, digest) { difference |= one ^ other }
        if difference == 0 { found = token }
      }
      return found
    }
  }

  private static func digest(_ token: String) -> [UInt8] { Array(SHA256.hash(data: Array(token.utf8))) }
}
