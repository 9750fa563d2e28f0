import ArgumentParser
import Provisioner

/// `perseid token create NAME --role ROLE`
struct TokenCreate: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a token for the admin API over TCP. It is shown once.",
    discussion: """
      read looks; operate also adds nodes and changes what they and groups are set to; admin may do everything.
      The appliance keeps the token's SHA-256 alone: who loses it makes another.
      """)

  @Argument(help: "Its name, for the list and the record of changes.")
  var name: String

  @Option(name: .long, help: "What it is good for: read, operate or admin.", completion: .list(Self.roles))
  var role: String

  @Option(name: .long, help: "When it ends: 12h, 30d, or a time such as 2027-01-31T00:00:00Z (default: never).")
  var expires: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  private static let roles = AdminRole.allCases.map(\.rawValue)

  var request: AdminRequest {
    get throws {
      guard let role = AdminRole(rawValue: role) else {
        throw ValidationError("--role: '\(role)' is not allowed; allowed is \(Self.roles.joined(separator: ", ")).")
      }
      return try AdminRequest(
        .post, ["tokens"], json: CreateToken(name: name, role: role, expires: try expires.map(Self.time)))
    }
  }

  private static func time(_ text: String) throws -> Timestamp {
    if let unit = text.last, let seconds = ["h": 3600.0, "d": 86400.0][unit], let count = Int(text.dropLast()),
      (1...100_000).contains(count)
    {
      return Timestamp.now.adding(seconds: Double(count) * seconds)
    }
    guard let time = Timestamp(text) ?? Timestamp(text.replacing("Z", with: ".000Z")) else {
      throw ValidationError(
        "--expires: '\(text)' is not allowed; allowed is 12h, 30d, or a time such as 2027-01-31T00:00:00Z.")
    }
    return time
  }

  func text(_ token: CreatedTokenView) -> String {
    let end = token.expires.map { "until \($0)" } ?? "until it is deleted"
    return """
      \(token.token)
      This is the token \(token.name), good for \(token.role.rawValue) \(end). It is not shown again.
      Use: curl -H 'Authorization: Bearer TOKEN' http://APPLIANCE:PORT/api/v1/info

      """
  }
}
