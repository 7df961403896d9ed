//! Methods of the server, with the role each requires.

use super::access::Role;
use super::turns::Class;

/// A method of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// Path in requests.
    pub path: &'static str,
    /// Role required of the key.
    pub needs: Role,
    /// Class of requests it is queued with.
    pub class: Class,
    /// True for plain HTTP, false for gRPC.
    pub plain: bool,
}

const fn read(path: &'static str) -> Method {
    Method { path, needs: Role::ReadOnly, class: Class::Read, plain: false }
}

const fn write(path: &'static str) -> Method {
    Method { path, needs: Role::ReadWrite, class: Class::Write, plain: false }
}

const fn administer(path: &'static str) -> Method {
    Method { path, needs: Role::ReadWrite, class: Class::Administer, plain: false }
}

const fn plain(path: &'static str) -> Method {
    Method { path, needs: Role::ReadOnly, class: Class::Read, plain: true }
}

/// Stands for all paths that are not in [`METHODS`]: they do not exist, and readers need not know.
pub const OTHER: Method = write("other");

/// All methods, and [`OTHER`] at the end.
pub static METHODS: [Method; 33] = [
    administer("/lanner.v1.CollectionService/CreateCollection"),
    administer("/lanner.v1.CollectionService/DeclarePayloadPath"),
    administer("/lanner.v1.CollectionService/DeleteCollection"),
    administer("/lanner.v1.CollectionService/FlushCollection"),
    administer("/lanner.v1.CollectionService/OptimizeCollection"),
    administer("/lanner.v1.CollectionService/TrainCollection"),
    // Reads every byte and drops damaged indexes.
    administer("/lanner.v1.CollectionService/VerifyCollection"),
    read("/lanner.v1.CollectionService/GetCollection"),
    read("/lanner.v1.CollectionService/ListCollections"),
    administer("/lanner.v1.JobService/CancelJob"),
    read("/lanner.v1.JobService/GetJob"),
    read("/lanner.v1.JobService/ListJobs"),
    read("/lanner.v1.JobService/WatchJob"),
    write("/lanner.v1.PointService/UpsertPoints"),
    write("/lanner.v1.PointService/StreamUpsertPoints"),
    write("/lanner.v1.PointService/UpdatePayloads"),
    write("/lanner.v1.PointService/UpdateVectors"),
    write("/lanner.v1.PointService/DeletePoints"),
    read("/lanner.v1.PointService/GetPoints"),
    read("/lanner.v1.PointService/ScrollPoints"),
    read("/lanner.v1.PointService/CountPoints"),
    read("/lanner.v1.PointService/FacetPoints"),
    read("/lanner.v1.QueryService/Query"),
    read("/lanner.v1.QueryService/BatchQuery"),
    read("/lanner.v1.QueryService/Fuse"),
    read("/lanner.v1.QueryService/QueryGroups"),
    read("/grpc.health.v1.Health/Check"),
    read("/grpc.health.v1.Health/Watch"),
    read("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    plain("/metrics"),
    plain("/healthz"),
    plain("/readyz"),
    OTHER,
];

/// Index of a path in [`METHODS`].
pub fn index_of(path: &str) -> usize {
    // The older name of the same service.
    let path = match path {
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => {
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        }
        path => path,
    };
    METHODS.iter().position(|method| method.path == path).unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use lanner_client::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn every_method_of_the_service_is_listed() {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let mut found = 0;
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    assert_eq!(METHODS[index_of(&path)].path, path);
                    found += 1;
                }
            }
        }
        assert_eq!(found, METHODS.iter().filter(|m| m.path.starts_with("/lanner")).count());
        assert_eq!(METHODS[index_of("/lanner.v1.PointService/Unknown")], OTHER);
        assert_eq!(OTHER.needs, Role::ReadWrite);
    }
}
