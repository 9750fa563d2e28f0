import ArgumentParser

/// `perseid lease ...`
struct LeaseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lease", abstract: "Addresses that DHCP has given out.", subcommands: [LeaseList.self])
}
