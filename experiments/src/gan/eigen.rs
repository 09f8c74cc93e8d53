//! Eigenvalues of small symmetric matrices.

/// A square matrix, row by row.
pub type Matrix = Vec<Vec<f64>>;

/// Sweeps over all pairs of rows; ten or so suffice.
const SWEEPS: usize = 50;

/// The eigenvalues of a symmetric matrix, and its eigenvectors as the columns of another, by Jacobi's rotations.
pub fn eigen(mut matrix: Matrix) -> (Vec<f64>, Matrix) {
    let size = matrix.len();
    let mut vectors = identity(size);
    for _ in 0..SWEEPS {
        for p in 0..size {
            for q in p + 1..size {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
        let above = (0..size).flat_map(|p| matrix[p][p + 1..].iter());
        let left: f64 = above.map(|entry| entry * entry).sum();
        let diagonal: f64 = (0..size).map(|index| matrix[index][index].powi(2)).sum();
        if left <= 1e-28 * diagonal {
            break;
        }
    }
    ((0..size).map(|index| matrix[index][index]).collect(), vectors)
}

/// Rotates the plane of two axes to make their off-diagonal entry 0.
fn rotate(matrix: &mut Matrix, vectors: &mut Matrix, p: usize, q: usize) {
    if matrix[p][q] == 0.0 {
        return;
    }
    let slope = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = slope.signum() / (slope.abs() + (slope * slope + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for row in matrix.iter_mut().chain(vectors.iter_mut()) {
        (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
    }
    let (above, below) = matrix.split_at_mut(q);
    for (above, below) in above[p].iter_mut().zip(&mut below[0]) {
        (*above, *below) = (cosine * *above - sine * *below, sine * *above + cosine * *below);
    }
}

/// The symmetric square root of a positive semidefinite matrix; eigenvalues made negative by rounding count as 0.
pub fn root(matrix: Matrix) -> Matrix {
    let (values, vectors) = eigen(matrix);
    let roots: Vec<f64> = values.iter().map(|value| value.max(0.0).sqrt()).collect();
    let entry = |i: usize, j: usize| {
        (0..roots.len()).map(|k| vectors[i][k] * roots[k] * vectors[j][k]).sum()
    };
    (0..roots.len()).map(|i| (0..roots.len()).map(|j| entry(i, j)).collect()).collect()
}

/// The product of two square matrices.
pub fn product(left: &Matrix, right: &Matrix) -> Matrix {
    let entry = |row: &[f64], column: usize| {
        row.iter().zip(right).map(|(value, row)| value * row[column]).sum()
    };
    left.iter().map(|row| (0..right.len()).map(|column| entry(row, column)).collect()).collect()
}

fn identity(size: usize) -> Matrix {
    let entry = |same: bool| if same { 1.0 } else { 0.0 };
    (0..size).map(|i| (0..size).map(|j| entry(i == j)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_matrix_has_its_eigenvalues() {
        let (mut values, _) = eigen(vec![vec![2.0, 1.0], vec![1.0, 2.0]]);
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-12 && (values[1] - 3.0).abs() < 1e-12, "{values:?}");
    }

    #[test]
    fn a_root_squared_is_the_matrix() {
        // A Gram matrix has no negative eigenvalues.
        let rows: Matrix =
            (0..8).map(|i| (0..8).map(|j| ((3 * i + 5 * j) as f64).sin()).collect()).collect();
        let turned: Matrix = (0..8).map(|i| rows.iter().map(|row| row[i]).collect()).collect();
        let gram = product(&rows, &turned);

        let root = root(gram.clone());

        let squared = product(&root, &root);
        for (found, expected) in squared.iter().flatten().zip(gram.iter().flatten()) {
            assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
        }
    }
}
