"""Human motion from files: npz, BVH, rosbag2, DeepMimic; and a synthetic walker."""
