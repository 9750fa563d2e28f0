import ArgumentParser

/// `perseid vnfs ...`, also called `capsule`.
struct VNFSCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vnfs", abstract: "Capsules: what nodes boot into.",
    subcommands: [
      VNFSImport.self, VNFSBuild.self, VNFSExport.self, VNFSList.self, VNFSShow.self, VNFSDelete.self,
    ], aliases: ["capsule"])
}
